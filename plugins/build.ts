/**
 * Builds the example plugins and the fixtures of plugin-host: `node plugins/build.ts [--check]`. The same sources and
 * compilers give the same bytes; with --check nothing is written, and a module that differs ends the run with code 1.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const pluginsFolder = dirname(fileURLToPath(import.meta.url));
const root = dirname(pluginsFolder);

export interface PluginBuild {
  readonly name: string;
  readonly language: "assemblyscript" | "c";
  /** The committed module. */
  readonly module: string;
  readonly source: string;
}

export const pluginBuilds: readonly PluginBuild[] = [
  assemblyScript("flights", join(pluginsFolder, "flights")),
  assemblyScript("audit", join(pluginsFolder, "audit")),
  assemblyScript("fixtures", join(root, "packages/plugin-host/fixtures")),
  assemblyScript("asking", join(root, "packages/plugin-host/fixtures/asking")),
  {
    name: "asking-c",
    language: "c",
    module: join(root, "packages/plugin-host/fixtures/asking/asking-c.wasm"),
    source: join(root, "packages/plugin-host/fixtures/asking/asking.c"),
  },
  {
    name: "redact",
    language: "c",
    module: join(pluginsFolder, "redact/redact.wasm"),
    source: join(pluginsFolder, "redact/redact.c"),
  },
];

function assemblyScript(name: string, folder: string): PluginBuild {
  return {
    name,
    language: "assemblyscript",
    module: join(folder, `${name}.wasm`),
    source: join(folder, "assembly/index.ts"),
  };
}

/** The compiler that built the committed C modules: another one may give other bytes. */
export const clangVersion = (await readFile(join(pluginsFolder, "clang-version.txt"), "utf8").catch(() => "")).trim();

/** @returns the first line of `clang --version`; undefined where no clang with a WASM linker is installed */
export async function findClang(): Promise<string | undefined> {
  try {
    await run("wasm-ld", ["--version"]);
    const { stdout } = await run("clang", ["--version"]);
    return stdout.split("\n")[0]?.trim();
  } catch {
    return undefined;
  }
}

/** Compiles one plugin and returns its module. */
export async function buildPlugin(build: PluginBuild): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-build-"));
  try {
    const out = join(folder, "out.wasm");
    await (build.language === "c" ? compileC(build, out) : compileAssemblyScript(build, out));
    return new Uint8Array(await readFile(out));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/**
 * The stub runtime never frees: an instance serves one call and is put back. Two pages at the start are enough for a
 * record, and an instance that never grew is the one that can be put back.
 */
async function compileAssemblyScript({ source }: PluginBuild, out: string): Promise<void> {
  const compiler = join(pluginsFolder, "node_modules/assemblyscript/bin/asc.js");
  const entry = relative(root, source);
  const options = [
    "-O3",
    "--runtime",
    "stub",
    "--initialMemory",
    "2",
    "--use",
    "abort=plugins/lib/assembly/fail/abort",
  ];
  const modules = ["--path", join(pluginsFolder, "node_modules")];
  await run(process.execPath, [compiler, entry, "-o", relative(root, out), ...options, ...modules], { cwd: root });
}

async function compileC({ source }: PluginBuild, out: string): Promise<void> {
  const target = ["--target=wasm32-unknown-unknown", "-mcpu=mvp", "-ffreestanding", "-nostdlib"];
  const code = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function"];
  const linker = ["--no-entry", "--strip-all", "--initial-memory=131072", "-z", "stack-size=16384"];
  await run("clang", [...target, ...code, "-c", "-o", `${out}.o`, source], { cwd: root });
  // By hand: clang would pass the module through whatever wasm-opt is on the PATH, and its bytes depend on that.
  await run("wasm-ld", [...linker, "-o", out, `${out}.o`], { cwd: root });
}

async function main(check: boolean): Promise<void> {
  const clang = await findClang();
  for (const build of pluginBuilds) {
    if (build.language === "c" && (clang === undefined || (check && clang !== clangVersion))) {
      console.log(`${build.name}: skipped; it takes clang and wasm-ld${check ? ` (${clangVersion})` : ""}`);
      continue;
    }
    const built = await buildPlugin(build);
    const committed = existsSync(build.module) ? await readFile(build.module) : undefined;
    const same = committed !== undefined && Buffer.compare(committed, built) === 0;
    console.log(`${build.name}: ${built.length} bytes, ${same ? "as before" : "changed"}`);
    if (same) continue;
    if (check) process.exitCode = 1;
    else {
      await writeFile(build.module, built);
      if (build.language === "c") await writeFile(join(pluginsFolder, "clang-version.txt"), `${clang}\n`);
    }
  }
}

if (import.meta.main) await main(process.argv.includes("--check"));
