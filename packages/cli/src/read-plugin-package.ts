import { readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { MillraceError, PluginManifestSchema, type PluginManifest } from "@millrace/protocol";
import { parse } from "yaml";
import { readInput } from "./read-payload.ts";

export interface PluginPackage {
  readonly manifest: PluginManifest;
  readonly module: Uint8Array;
}

/**
 * Reads a plugin: a folder with `plugin.yaml` (or `.yml`, `.json`), or a module with its manifest. The manifest holds the fields of
 * the contract's PluginManifest, and `module`, the file's place beside it; without it the folder's only .wasm is taken.
 * @throws MillraceError invalid_argument, saying which file and why
 */
export async function readPluginPackage(path: string, manifestPath?: string): Promise<PluginPackage> {
  if (await isFolder(path)) {
    const file = manifestPath ?? (await findManifest(path));
    const { manifest, modulePath } = await readManifest(file);
    return { manifest, module: await readInput(modulePath ?? (await findModule(path))) };
  }
  const file = manifestPath ?? (await findManifest(dirname(path)));
  const { manifest } = await readManifest(file);
  return { manifest, module: await readInput(path) };
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (cause) {
    throw new MillraceError("invalid_argument", `cannot read ${path}: there is no such file or folder`, { cause });
  }
}

const manifestNames = ["plugin.yaml", "plugin.yml", "plugin.json"];

async function findManifest(folder: string): Promise<string> {
  const files = await readdir(folder);
  const name = manifestNames.find((candidate) => files.includes(candidate));
  if (name === undefined) throw new MillraceError("invalid_argument", `${folder} holds no ${manifestNames.join(", ")}`);
  return join(folder, name);
}

async function findModule(folder: string): Promise<string> {
  const modules = (await readdir(folder)).filter((name) => name.endsWith(".wasm"));
  const [only] = modules;
  if (only !== undefined && modules.length === 1) return join(folder, only);
  const found = modules.length === 0 ? "no .wasm" : `several .wasm (${modules.join(", ")})`;
  throw new MillraceError("invalid_argument", `${folder} holds ${found}: name it in plugin.yaml as module`);
}

async function readManifest(path: string): Promise<{ manifest: PluginManifest; modulePath: string | undefined }> {
  const text = new TextDecoder().decode(await readInput(path));
  try {
    const value: unknown = parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("it must be a mapping");
    const { module, ...fields } = value as { [key: string]: JsonValue };
    if (module !== undefined && typeof module !== "string") throw new Error("module must be the path of a file");
    return {
      manifest: fromJson(PluginManifestSchema, fields),
      modulePath: module === undefined ? undefined : resolve(dirname(path), module),
    };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError("invalid_argument", `${path}: ${why}`, { cause });
  }
}
