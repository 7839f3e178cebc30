import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { MillraceError, PluginManifestSchema, type PluginManifest } from "@millrace/protocol";
import { parse } from "yaml";
import { readInput } from "./read-payload.ts";

export interface PluginPackage {
  readonly manifest: PluginManifest;
  readonly module: Uint8Array;
}

/**
 * Reads a plugin: a folder with `plugin.yaml` (or `.yml`, `.json`) and its module, or a module with the manifest beside it. The
 * module carries the folder's name, or is the only .wasm there. The manifest holds the fields of the contract's PluginManifest.
 * @throws MillraceError invalid_argument, saying which file and why
 */
export async function readPluginPackage(path: string, manifestPath?: string): Promise<PluginPackage> {
  const isFolder = await isDirectory(path);
  const folder = isFolder ? path : dirname(path);
  const manifest = await readManifest(manifestPath ?? (await findManifest(folder)));
  return { manifest, module: await readInput(isFolder ? await findModule(folder) : path) };
}

async function isDirectory(path: string): Promise<boolean> {
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
  const named = `${basename(resolve(folder))}.wasm`;
  if (modules.includes(named)) return join(folder, named);
  const [only] = modules;
  if (only !== undefined && modules.length === 1) return join(folder, only);
  const found = modules.length === 0 ? `no ${named}; build it first` : `several .wasm and no ${named}`;
  throw new MillraceError("invalid_argument", `${folder} holds ${found}`);
}

async function readManifest(path: string): Promise<PluginManifest> {
  const text = new TextDecoder().decode(await readInput(path));
  try {
    const value: unknown = parse(text);
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("it must be a mapping");
    return fromJson(PluginManifestSchema, value as JsonObject);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError("invalid_argument", `${path}: ${why}`, { cause });
  }
}
