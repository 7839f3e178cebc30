/**
 * Compiles `corpus/c-*.c` to the modules beside them, which are committed: tests need no compiler.
 * `node test/hostile/build-c.ts`, with a clang that has the wasm32 target, and lld.
 */
import { execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";

const flags = "--target=wasm32 -O2 -nostdlib -fno-builtin -mbulk-memory -Wall -Wno-infinite-recursion";
const linker = "-Wl,--no-entry -Wl,--stack-first -Wl,-z,stack-size=262144 -Wl,--strip-all";

const folder = fileURLToPath(new URL("corpus/", import.meta.url));
for (const source of globSync("c-*.c", { cwd: folder })) {
  const module = source.replace(/\.c$/, ".wasm");
  execFileSync("clang", [...flags.split(" "), ...linker.split(" "), "-o", module, source], {
    cwd: folder,
    stdio: "inherit",
  });
}
