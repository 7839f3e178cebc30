import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { JobState, PluginManifestSchema, PluginState, signPlugin } from "@millrace/protocol";
import { startWorker } from "@millrace/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { makeKeyPair, testModule, untilRecord } from "./plugin-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
  fixture.use("worker", await startWorker({ bus: fixture.bus, queues: ["default"], executors: 1 }));
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

async function upload(name: string, version: string, traps: string[] = [], canaryPercent = 0) {
  const { plugin } = await fixture.plugins.uploadPlugin({
    manifest: { name, version, handlers: [{ type: `${name}_job`, export: "run" }] },
    module: testModule(["run", "on_install", "on_enable", "on_disable"], `${name} ${version}`, traps),
    canaryPercent,
    canaryBounds: { minCalls: 10 },
  });
  return plugin;
}

test("a worker runs the hooks, and what traps in them is told", { timeout: 60_000 }, async () => {
  expect(await upload("hooked", "1.0.0")).toMatchObject({ state: PluginState.ACTIVE, stateReason: "" });
  const { plugin } = await fixture.plugins.disablePlugin({ name: "hooked" });
  expect(plugin).toMatchObject({ state: PluginState.RESOLVED });
  const sick = await upload("trapped", "1.0.0", ["on_enable"]);
  expect(sick).toMatchObject({ state: PluginState.RESOLVED });
  expect(sick?.stateReason).toContain("on_enable failed: TRAPPED");
});

test("a canary that fails on the workers is taken back, and jobs go on", { timeout: 60_000 }, async () => {
  await upload("trial", "1.0.0");
  await upload("trial", "2.0.0", ["run"], 50);
  const back = untilRecord(fixture.bus, "trial", (plugin) => plugin.canary === undefined);
  for (let i = 0; i < 100; i++) {
    await fixture.jobs.submitJob({ id: `trial-${i}`, type: "trial_job", maxAttempts: 1 });
  }
  const plugin = await back;
  expect(plugin).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "1.0.0" } });
  expect(plugin.stateReason).toMatch(
    /canary 2\.0\.0 was taken back: \d+ of \d+ calls failed .* against 0 of \d+ calls failed/,
  );
  const { result } = await fixture.jobs.submitJob({ type: "trial_job", waitMs: 10_000 });
  expect(result?.state).toBe(JobState.SUCCEEDED);
});

test("jobs of a plugin whose key was revoked wait, and say why", { timeout: 60_000 }, async () => {
  const { pair, publicKey } = await makeKeyPair();
  const { key } = await fixture.plugins.trustPluginKey({ publicKey, owner: "Eve" });
  const manifest = create(PluginManifestSchema, {
    name: "leaked",
    version: "1.0.0",
    handlers: [{ type: "leaked_job", export: "run" }],
  });
  const module = testModule(["run"], "leaked");
  const signature = await signPlugin({ manifest, sha256: createHash("sha256").update(module).digest("hex") }, pair);
  await fixture.plugins.uploadPlugin({ manifest, module, signature });
  const { result } = await fixture.jobs.submitJob({ type: "leaked_job", waitMs: 10_000 });
  expect(result?.state).toBe(JobState.SUCCEEDED);
  await fixture.plugins.revokePluginKey({ keyId: key?.keyId ?? "", reason: "stolen" });
  const { id } = await fixture.jobs.submitJob({ type: "leaked_job" });
  for await (const { update } of fixture.jobs.watchJob({ id })) {
    if (update.case !== "event") continue;
    expect(update.value.kind).toBe("parked");
    expect(update.value.reason).toMatch(/leaked.*was revoked: stolen/);
    break;
  }
});
