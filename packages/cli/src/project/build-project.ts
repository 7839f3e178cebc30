import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { MillraceError } from "@millrace/protocol";
import { readProjectManifest } from "../read-plugin-package.ts";
import { writeOutput } from "../write-output.ts";
import { entryFiles, findLanguage, type PluginLanguage } from "./plugin-language.ts";
import { runCompiler } from "./run-compiler.ts";

export interface Build {
  readonly language: PluginLanguage;
  readonly path: string;
  readonly bytes: number;
  readonly elapsedMs: number;
}

interface CompilerCall {
  readonly command: string;
  readonly args: readonly string[];
  readonly hint: string;
}

export interface BuildOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/**
 * Compiles a project's source to `<name>.wasm` beside its manifest. The former module stays until the new one is whole.
 * @throws MillraceError with the compiler's words, or how to get the compiler
 */
export async function buildProject(folder: string, { env, signal }: BuildOptions): Promise<Build> {
  const startedMs = performance.now();
  const cwd = resolve(folder);
  const language = await findLanguage(cwd);
  const { name } = await readProjectManifest(cwd);
  const scratch = await mkdtemp(join(tmpdir(), "millrace-build-"));
  try {
    const out = join(scratch, "out.wasm");
    await runCompiler({ ...compilers[language](cwd, out, env), cwd, signal });
    const module = await readFile(out);
    const path = join(folder, `${name}.wasm`);
    await writeOutput(path, module);
    return { language, path, bytes: module.length, elapsedMs: Math.round(performance.now() - startedMs) };
  } finally {
    await rm(scratch, { recursive: true });
  }
}

const cOptions =
  "--target=wasm32-unknown-unknown -ffreestanding -nostdlib -std=c11 -O2 -Wall -Wextra -Wno-unused-function -Wl,--no-entry,--strip-all,-z,stack-size=65536".split(
    " ",
  );
const rustOptions =
  "--edition 2021 --target wasm32-unknown-unknown --crate-type cdylib -C opt-level=3 -C panic=abort -C strip=symbols".split(
    " ",
  );

const compilers: Readonly<
  Record<PluginLanguage, (cwd: string, out: string, env: BuildOptions["env"]) => CompilerCall>
> = {
  assemblyscript: (cwd, out) => {
    const modules = findAssemblyScript(cwd);
    return {
      command: process.execPath,
      // Other options are in the project's own asconfig.json, which the compiler finds.
      args: [join(modules, "assemblyscript/bin/asc.js"), entryFiles.assemblyscript, "-o", out, "--path", modules],
      hint: "",
    };
  },
  c: (_, out, env) => ({
    command: env["CLANG"] || "clang",
    args: [...cOptions, "-o", out, entryFiles.c],
    hint: "install clang and lld, or name another with CLANG",
  }),
  rust: (_, out, env) => ({
    command: env["RUSTC"] || "rustc",
    args: [...rustOptions, "-o", out, entryFiles.rust],
    hint: "install Rust with its wasm32-unknown-unknown target, or name another with RUSTC",
  }),
};

/** The folder of packages that holds the compiler: the project's or one above it, or the one of this checkout. */
function findAssemblyScript(cwd: string): string {
  const places: string[] = [];
  for (let at = cwd; dirname(at) !== at; at = dirname(at)) places.push(at);
  const found = [...places, join(import.meta.dirname, "../../../../plugins")]
    .map((place) => join(place, "node_modules"))
    .find((modules) => existsSync(join(modules, "assemblyscript/bin/asc.js")));
  if (found !== undefined) return found;
  throw new MillraceError("failed_precondition", `AssemblyScript is not installed; run npm install in ${cwd}`);
}
