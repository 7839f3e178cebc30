/**
 * Builds the workloads of the metering bench: `node test/bench/wasm/build.ts`. Takes clang and wasm-ld, a rustc with the
 * standard library of wasm32-unknown-unknown (RUSTC names another than the PATH's), and the AssemblyScript of the plugins.
 * The modules are committed: the bench needs no compiler.
 */
import { execFile } from "node:child_process";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const folder = import.meta.dirname;
const asc = path.join(folder, "../../../plugins/node_modules/assemblyscript/bin/asc.js");

const c = [
  "--target=wasm32-unknown-unknown",
  "-O2",
  "-std=c11",
  "-ffreestanding",
  "-nostdlib",
  "-Wl,--no-entry,--strip-all",
];
await run("clang", [...c, "-o", "c.wasm", "workloads.c"], { cwd: folder });

await run("clang", [...c, "-Wl,--initial-memory=1048576", "-o", "plugin.wasm", "plugin.c"], { cwd: folder });

const target = ["--edition", "2021", "--target", "wasm32-unknown-unknown", "-C", "linker=wasm-ld"];
const codegen = ["opt-level=3", "panic=abort", "lto", "strip=symbols", "codegen-units=1"].flatMap((flag) => [
  "-C",
  flag,
]);
await run(process.env["RUSTC"] ?? "rustc", [...target, ...codegen, "-o", "rust.wasm", "workloads.rs"], { cwd: folder });

const assemblyScript = ["-O3", "--runtime", "incremental", "--use", "abort=", "-o", "assemblyscript.wasm"];
await run(process.execPath, [asc, "assembly/index.ts", ...assemblyScript], { cwd: folder });
