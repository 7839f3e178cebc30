import { JobState, PluginState } from "@millrace/protocol";
import { startWorker, type Worker } from "@millrace/worker";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { testModule, untilRecord } from "./plugin-fixture.ts";

let fixture: ControlFixture;
let worker: Worker;
beforeAll(async () => {
  fixture = await startControlFixture();
  worker = await startWorker({ bus: fixture.bus, queues: ["default"], executors: 1 });
}, 60_000);
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await fixture[Symbol.asyncDispose]();
});

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
