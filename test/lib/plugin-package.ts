import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, fromJson, toJson, type JsonObject } from "@bufbuild/protobuf";
import { PluginManifestSchema, PluginSignatureSchema, signPlugin, type PluginManifest } from "@millrace/protocol";
import { root } from "./process.ts";

/** Small exports of every kind: see packages/plugin-host/fixtures/assembly. */
const fixtures = join(root, "packages/plugin-host/fixtures/fixtures.wasm");

/** What an author sends to UploadPlugin, in REST's JSON. */
export interface PluginPackage {
  readonly manifest: JsonObject;
  readonly module: string;
  readonly signature?: JsonObject;
}

/** The fixtures under a manifest, signed when there is a key. */
export async function packPlugin(manifest: JsonObject, key?: CryptoKeyPair): Promise<PluginPackage> {
  const module = readFileSync(fixtures);
  const parsed: PluginManifest = fromJson(PluginManifestSchema, manifest);
  const packed = { manifest, module: module.toString("base64") };
  if (key === undefined) return packed;
  const sha256 = createHash("sha256").update(module).digest("hex");
  const signature = create(PluginSignatureSchema, await signPlugin({ manifest: parsed, sha256 }, key));
  return { ...packed, signature: toJson(PluginSignatureSchema, signature) as JsonObject };
}
