import { createHash } from "node:crypto";
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MillraceError, type PluginManifest } from "@millrace/protocol";
import { parse } from "yaml";
import { readInput } from "./read-payload.ts";

export interface PluginPackage {
  readonly manifest: PluginManifest;
  readonly module: Uint8Array;
  /** Of the module, in hex. */
  readonly sha256: string;
  /** Where the manifest is, and the signature beside it. */
  readonly folder: string;
}

/**
 * Reads a plugin: a folder with `plugin.yaml` (or `.yml`, `.json`) and its module, or a module with the manifest beside it. The
 * module carries the plugin's name, or is the only .wasm there.
 * @throws MillraceError invalid_argument, saying which file and why
 */
export async function readPluginPackage(path: string, manifestPath?: string): Promise<PluginPackage> {
  const isFolder = await isDirectory(path);
  const folder = isFolder ? path : dirname(path);
  const found = manifestPath ?? (await findManifest(folder));
  const manifest = await readManifest(found);
  const module = await readInput(isFolder ? await findModule(folder, manifest.name) : path);
  const sha256 = createHash("sha256").update(module).digest("hex");
  return { manifest, module, sha256, folder: dirname(found) };
}

/** The manifest of a folder. */
export async function readProjectManifest(folder: string): Promise<PluginManifest> {
  return readManifest(await findManifest(folder));
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

async function findModule(folder: string, name: string): Promise<string> {
  const modules = (await readdir(folder)).filter((file) => file.endsWith(".wasm"));
  const named = `${name}.wasm`;
  if (modules.includes(named)) return join(folder, named);
  const [only] = modules;
  if (only !== undefined && modules.length === 1) return join(folder, only);
  const found = modules.length === 0 ? `no ${named}; build it first` : `several .wasm and no ${named}`;
  throw new MillraceError("invalid_argument", `${folder} holds ${found}`);
}

/** @throws MillraceError invalid_argument with all that is wrong with it */
async function readManifest(path: string): Promise<PluginManifest> {
  const text = new TextDecoder().decode(await readInput(path));
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    throw new MillraceError("invalid_argument", `${path}: ${cause instanceof Error ? cause.message : ""}`, { cause });
  }
  // Loaded here: most commands need no sandbox.
  const { parseManifest } = await import("@millrace/plugin-host");
  const parsed = parseManifest(value);
  if (parsed.ok) return parsed.manifest;
  const details = parsed.problems;
  const [only] = details;
  const what = only !== undefined && details.length === 1 ? `${only.field} ${only.reason}` : "is not a manifest";
  throw new MillraceError("invalid_argument", `${path}: ${what}`, { details });
}
