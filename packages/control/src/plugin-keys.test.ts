import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { createHash } from "node:crypto";
import { PluginManifestSchema, PluginState, signPlugin } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { makeKeyPair, refusalOfCall, testModule } from "./plugin-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture({ pluginSignatures: "required" });
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

async function upload(name: string, version: string, pair: CryptoKeyPair | undefined, canaryPercent = 0) {
  const handlers = [{ type: `${name}_job`, export: "run" }];
  const manifest = create(PluginManifestSchema, { name, version, handlers });
  const module = testModule(["run"], `${name} ${version}`);
  const sha256 = createHash("sha256").update(module).digest("hex");
  const signed = pair === undefined ? {} : { signature: await signPlugin({ manifest, sha256 }, pair) };
  return (await fixture.plugins.uploadPlugin({ manifest, module, canaryPercent, ...signed })).plugin;
}

test("only what a trusted key signed is installed, and keys are rotated", async () => {
  expect(await refusalOfCall(upload("signed", "1.0.0", undefined))).toMatchObject({ code: "PermissionDenied" });
  const [first, second] = [await makeKeyPair(), await makeKeyPair()];
  const stranger = await refusalOfCall(upload("signed", "1.0.0", first.pair));
  expect(stranger.message).toContain("is not trusted");
  const { key } = await fixture.plugins.trustPluginKey({ publicKey: first.publicKey, owner: "Ada" });
  expect(key).toMatchObject({ owner: "Ada", keyId: expect.stringMatching(/^[0-9a-f]{16}$/) as string });
  expect(await upload("signed", "1.0.0", first.pair)).toMatchObject({
    state: PluginState.ACTIVE,
    signature: { keyId: key?.keyId },
  });
  await fixture.plugins.trustPluginKey({ publicKey: second.publicKey, owner: "Ada" });
  expect(await upload("signed", "2.0.0", second.pair)).toMatchObject({ manifest: { version: "2.0.0" } });
  const { versions } = await fixture.plugins.listPluginVersions({ name: "signed" });
  expect(versions.map(({ signature }) => signature?.signature.length)).toEqual([64, 64]);
  const owners = (await fixture.plugins.listPluginKeys({})).keys.map(({ owner }) => owner);
  expect(owners).toEqual(["Ada", "Ada"]);
});

test("a key that has run out, or is none, is refused", async () => {
  const { pair, publicKey } = await makeKeyPair();
  await fixture.plugins.trustPluginKey({ publicKey, owner: "Ada", notAfter: timestampFromMs(Date.now() - 1000) });
  expect((await refusalOfCall(upload("late", "1.0.0", pair))).message).toContain("has expired");
  const short = fixture.plugins.trustPluginKey({ publicKey: publicKey.subarray(1), owner: "Ada" });
  expect(await refusalOfCall(short)).toMatchObject({ code: "InvalidArgument" });
});

test("a revoked key takes its plugins out of service for good", async () => {
  const [leaked, safe] = [await makeKeyPair(), await makeKeyPair()];
  const { key } = await fixture.plugins.trustPluginKey({ publicKey: leaked.publicKey, owner: "Eve" });
  await fixture.plugins.trustPluginKey({ publicKey: safe.publicKey, owner: "Bob" });
  await upload("leak", "1.0.0", safe.pair);
  await upload("leak", "2.0.0", leaked.pair);
  await upload("trial", "1.0.0", safe.pair);
  await upload("trial", "2.0.0", leaked.pair, 10);
  const keyId = key?.keyId ?? "";
  const revoked = (await fixture.plugins.revokePluginKey({ keyId, reason: "leaked" })).key;
  expect(revoked).toMatchObject({ revokedReason: "leaked", owner: "Eve" });

  const stopped = (await fixture.plugins.getPlugin({ name: "leak" })).plugin;
  expect(stopped).toMatchObject({ state: PluginState.INSTALLED, enabled: false });
  expect(stopped?.stateReason).toContain("was revoked: leaked");
  const enabled = (await fixture.plugins.enablePlugin({ name: "leak" })).plugin;
  expect(enabled).toMatchObject({ state: PluginState.INSTALLED, enabled: false });
  const back = (await fixture.plugins.rollbackPlugin({ name: "leak" })).plugin;
  expect(back).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "1.0.0" } });
  const forth = await refusalOfCall(fixture.plugins.rollbackPlugin({ name: "leak", version: "2.0.0" }));
  expect(forth).toMatchObject({ code: "FailedPrecondition" });

  const trial = (await fixture.plugins.getPlugin({ name: "trial" })).plugin;
  expect(trial).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "1.0.0" } });
  expect(trial?.canary).toBeUndefined();
  expect(trial?.stateReason).toContain("was revoked: leaked");

  expect((await refusalOfCall(upload("leak", "3.0.0", leaked.pair))).message).toContain("was revoked");
  const again = fixture.plugins.trustPluginKey({ publicKey: leaked.publicKey, owner: "Eve" });
  expect(await refusalOfCall(again)).toMatchObject({ code: "FailedPrecondition" });
});
