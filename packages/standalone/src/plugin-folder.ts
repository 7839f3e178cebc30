import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fromJsonString } from "@bufbuild/protobuf";
import { parseManifest } from "@millrace/plugin-host";
import { PluginSignatureSchema, type PluginManifest, type PluginSignature } from "@millrace/protocol";
import { parse } from "yaml";

/** A plugin as it lies in a folder: `plugin.yaml`, its module, and `plugin.sig` where it is signed. */
export interface PluginFolder {
  readonly manifest: PluginManifest;
  readonly module: Uint8Array<ArrayBuffer>;
  /** Of the module, in hex. */
  readonly sha256: string;
  readonly signature: PluginSignature | undefined;
}

const manifestFile = "plugin.yaml";
const signatureFile = "plugin.sig";
/** Folders that are looked at: each is watched in development. */
const mostFolders = 256;

/** Names of the folders in `dir` that may hold a plugin, in order. */
export async function listFolders(dir: string): Promise<string[]> {
  const items = await readdir(dir, { withFileTypes: true }).catch(() => []);
  const folders = items.filter((item) => item.isDirectory() && item.name !== "node_modules");
  return folders
    .map(({ name }) => name)
    .toSorted()
    .slice(0, mostFolders);
}

export async function hasManifest(dir: string, folder: string): Promise<boolean> {
  const files = await readdir(join(dir, folder)).catch((): string[] => []);
  return files.includes(manifestFile);
}

/** @throws Error saying which file and why */
export async function readPluginFolder(dir: string, folder: string): Promise<PluginFolder> {
  const path = join(dir, folder);
  const parsed = parseManifest(parse(await readFile(join(path, manifestFile), "utf8")));
  if (!parsed.ok) {
    throw new Error(`${manifestFile}: ${parsed.problems.map(({ field, reason }) => `${field} ${reason}`).join("; ")}`);
  }
  // As the command line builds it.
  const module = new Uint8Array(await readFile(join(path, `${parsed.manifest.name}.wasm`)));
  const sha256 = createHash("sha256").update(module).digest("hex");
  return { manifest: parsed.manifest, module, sha256, signature: await readSignature(join(path, signatureFile)) };
}

async function readSignature(path: string): Promise<PluginSignature | undefined> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  return fromJsonString(PluginSignatureSchema, text, { ignoreUnknownFields: true });
}
