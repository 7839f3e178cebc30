/**
 * Builds the workloads of the metering bench: `node test/bench/wasm/build.ts`. Takes clang and wasm-ld, a rustc with the
 * standard library of wasm32-unknown-unknown (RUSTC names another than the PATH's), the AssemblyScript of the plugins, em++ of
 * Emscripten 3.1, and Zig 0.11 (ZIG). The modules are committed: neither the bench nor the tests need a compiler.
 */
import { execFile } from "node:child_process";
import { rm } from "node:fs/promises";
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

const emscripten = ["-O2", "-std=c++17", "-fwasm-exceptions", "-msimd128", "-sSTANDALONE_WASM", "--no-entry"];
const exported = "-sEXPORTED_FUNCTIONS=_throwing,_containers,_dispatching";
await run("em++", [...emscripten, exported, "-o", "emscripten.wasm", "workloads.cpp"], { cwd: folder });

const zig = ["build-lib", "-target", "wasm32-freestanding", "-dynamic", "-rdynamic", "-O", "ReleaseSafe", "-fstrip"];
await run(process.env["ZIG"] ?? "zig", [...zig, "-femit-bin=zig.wasm", "workloads.zig"], { cwd: folder });
await rm(path.join(folder, "zig.wasm.o"), { force: true });
