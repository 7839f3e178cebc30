import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { beforeAll, describe, expect, it } from "vitest";
import { PluginCapabilitiesSchema, PluginManifestSchema } from "./gen/millrace/plugins/v1/plugin_pb.ts";
import { PluginKeySchema, type PluginKey } from "./gen/millrace/plugins/v1/plugin_service_pb.ts";
import { canonicalManifest, pluginKeyId, refuseSignature, signPlugin } from "./plugin-signature.ts";

const manifest = create(PluginManifestSchema, {
  name: "a",
  version: "1.0.0",
  handlers: [{ type: "t", export: "run" }],
  capabilities: { http: ["api.example.com"] },
});
const content = { manifest, sha256: "ab".repeat(32) };
const nowMs = Date.UTC(2030, 0, 1);
let pair: CryptoKeyPair;
let key: PluginKey;

beforeAll(async () => {
  pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  key = create(PluginKeySchema, { keyId: await pluginKeyId(publicKey), publicKey });
});

it("signs the same bytes whatever the order of fields", () => {
  const text = new TextDecoder().decode(canonicalManifest(content));
  expect(text).toBe(
    `millrace plugin v1\n{"manifest":{"capabilities":{"http":["api.example.com"]},"handlers":[{"export":"run","type":"t"}],"name":"a","version":"1.0.0"},"sha256":"${content.sha256}"}`,
  );
});

describe("refuseSignature", () => {
  it("accepts what a trusted key signed", async () => {
    expect(await refuseSignature(content, await signPlugin(content, pair), [key], nowMs)).toBeUndefined();
  });

  it.each([
    ["another module", { sha256: "cd".repeat(32) }],
    [
      "more capabilities",
      { manifest: { ...manifest, capabilities: create(PluginCapabilitiesSchema, { http: ["*"] }) } },
    ],
    ["another version", { manifest: create(PluginManifestSchema, { ...manifest, version: "1.0.1" }) }],
  ])("refuses %s", async (_, change) => {
    const signature = await signPlugin(content, pair);
    expect(await refuseSignature({ ...content, ...change }, signature, [key], nowMs)).toContain("does not fit");
  });

  it("refuses keys that are unknown, revoked or expired", async () => {
    const signature = await signPlugin(content, pair);
    expect(await refuseSignature(content, signature, [], nowMs)).toContain("is not trusted");
    const revoked = create(PluginKeySchema, { ...key, revokedAt: timestampFromMs(1), revokedReason: "leaked" });
    expect(await refuseSignature(content, signature, [revoked], nowMs)).toContain("was revoked: leaked");
    const old = create(PluginKeySchema, { ...key, notAfter: timestampFromMs(nowMs - 1000) });
    expect(await refuseSignature(content, signature, [old], nowMs)).toContain("has expired");
  });

  it("refuses a signature of another length", async () => {
    const signature = await signPlugin(content, pair);
    const short = { ...signature, signature: signature.signature.subarray(1) };
    expect(await refuseSignature(content, short, [key], nowMs)).toBe("a signature has 64 bytes");
  });
});
