import { toJson } from "@bufbuild/protobuf";
import {
  PluginManifestSchema,
  type PluginManifest,
  type PluginSignature,
} from "./gen/millrace/plugins/v1/plugin_pb.ts";
import type { PluginKey } from "./gen/millrace/plugins/v1/plugin_service_pb.ts";

/** What a signature covers. */
export interface SignedContent {
  readonly manifest: PluginManifest;
  /** Of the module, in hex. */
  readonly sha256: string;
}

const encoder = new TextEncoder();
/** Keeps a signature from meaning anything elsewhere. */
const domain = "millrace plugin v1";

/**
 * The bytes that are signed: the domain, a line break, and `{"manifest": …, "sha256": …}` with the manifest in protobuf's JSON,
 * keys sorted, no white space (RFC 8785, for the values that a manifest has).
 */
export function canonicalManifest({ manifest, sha256 }: SignedContent): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${domain}\n${canonicalJson({ manifest: toJson(PluginManifestSchema, manifest), sha256 })}`);
}

/** The first 16 hex digits of the sha256 of a raw ed25519 public key. */
export async function pluginKeyId(publicKey: Uint8Array): Promise<string> {
  return hex(new Uint8Array(await crypto.subtle.digest("SHA-256", Uint8Array.from(publicKey)))).slice(0, 16);
}

/** Signs by ed25519 (RFC 8032). */
export async function signPlugin(content: SignedContent, key: CryptoKeyPair): Promise<PluginSignature> {
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", key.publicKey));
  const signature = await crypto.subtle.sign("Ed25519", key.privateKey, canonicalManifest(content));
  return {
    $typeName: "millrace.plugins.v1.PluginSignature",
    keyId: await pluginKeyId(publicKey),
    signature: new Uint8Array(signature),
  };
}

/** @returns why the signature is not to be trusted at `nowMs`; undefined when it is */
export async function refuseSignature(
  content: SignedContent,
  signature: PluginSignature,
  keys: Iterable<PluginKey>,
  nowMs: number,
): Promise<string | undefined> {
  const key = [...keys].find(({ keyId }) => keyId === signature.keyId);
  if (key === undefined) return `key ${signature.keyId} is not trusted`;
  if (key.revokedAt !== undefined) {
    const why = key.revokedReason === "" ? "" : `: ${key.revokedReason}`;
    return `key ${key.keyId} was revoked${why}`;
  }
  if (key.notAfter !== undefined && Number(key.notAfter.seconds) * 1000 < nowMs) return `key ${key.keyId} has expired`;
  if (signature.signature.length !== 64) return "a signature has 64 bytes";
  const verifier = await crypto.subtle.importKey("raw", Uint8Array.from(key.publicKey), "Ed25519", false, ["verify"]);
  const bytes = Uint8Array.from(signature.signature);
  const valid = await crypto.subtle.verify("Ed25519", verifier, bytes, canonicalManifest(content));
  return valid ? undefined : `the signature by key ${key.keyId} does not fit the manifest and module`;
}

function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`).join(",")}}`;
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
