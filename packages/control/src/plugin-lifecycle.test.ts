import { create } from "@bufbuild/protobuf";
import { encodePluginRecord, PluginSchema, PluginState } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { refusalOfCall, startHookWorker, testModule, untilRecord } from "./plugin-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture({ workerPatienceMs: 400, takeOverMs: 300 });
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

const hooks = ["on_install", "on_enable", "on_disable", "on_uninstall"];

async function upload(name: string, version = "1.0.0", more: { exports?: string[]; disabled?: boolean } = {}) {
  const { exports = hooks, disabled = false } = more;
  const { plugin } = await fixture.plugins.uploadPlugin({
    manifest: { name, version, handlers: [{ type: `${name}_job`, export: "run" }] },
    module: testModule(["run", ...exports], `${name} ${version}`),
    disabled,
  });
  if (plugin === undefined) throw new Error("no plugin");
  return plugin;
}

test("hooks are run at each turn, on a worker", async () => {
  using worker = startHookWorker(fixture.bus);
  expect(await upload("life")).toMatchObject({ state: PluginState.ACTIVE, stateReason: "", enabled: true });
  expect((await fixture.plugins.disablePlugin({ name: "life" })).plugin?.state).toBe(PluginState.RESOLVED);
  expect((await fixture.plugins.enablePlugin({ name: "life" })).plugin?.state).toBe(PluginState.ACTIVE);
  await fixture.plugins.deletePlugin({ name: "life" });
  expect(worker.calls).toEqual(
    ["on_install", "on_enable", "on_disable", "on_enable", "on_disable", "on_uninstall"].map((hook) => `1.0.0.${hook}`),
  );
});

test("what an upload fails by is in the record, and enabling tries again", async () => {
  {
    using worker = startHookWorker(fixture.bus, ["on_install"]);
    expect(await upload("sick")).toMatchObject({
      state: PluginState.INSTALLED,
      stateReason: "on_install failed: TRAPPED: unreachable",
    });
    expect(worker.calls).toEqual(["1.0.0.on_install"]);
  }
  {
    using worker = startHookWorker(fixture.bus, ["on_enable", "on_disable"]);
    const { plugin } = await fixture.plugins.enablePlugin({ name: "sick" });
    expect(plugin).toMatchObject({
      state: PluginState.RESOLVED,
      stateReason: "on_enable failed: TRAPPED: unreachable",
    });
    expect(worker.calls).toEqual(["1.0.0.on_install", "1.0.0.on_enable"]);
  }
  using worker = startHookWorker(fixture.bus, ["on_disable"]);
  expect((await fixture.plugins.enablePlugin({ name: "sick" })).plugin?.state).toBe(PluginState.ACTIVE);
  // A plugin that does not want to stop is stopped.
  expect((await fixture.plugins.disablePlugin({ name: "sick" })).plugin?.state).toBe(PluginState.RESOLVED);
  expect(worker.calls).toEqual(["1.0.0.on_enable", "1.0.0.on_disable"]);
});

test("without a worker the record says so, and goes on when one comes", async () => {
  const waiting = await upload("early");
  expect(waiting).toMatchObject({
    state: PluginState.INSTALLED,
    stateReason: "no worker is there to run on_install; it is tried again",
  });
  using worker = startHookWorker(fixture.bus);
  const plugin = await untilRecord(fixture.bus, "early", ({ state }) => state === PluginState.ACTIVE);
  expect(plugin.stateReason).toBe("");
  expect(worker.calls).toEqual(["1.0.0.on_install", "1.0.0.on_enable"]);
});

test("a disabled upload is installed, and started when it is enabled", async () => {
  using worker = startHookWorker(fixture.bus);
  expect((await upload("later", "1.0.0", { disabled: true })).state).toBe(PluginState.RESOLVED);
  expect(worker.calls).toEqual(["1.0.0.on_install"]);
  expect((await fixture.plugins.enablePlugin({ name: "later" })).plugin?.state).toBe(PluginState.ACTIVE);
});

test("what a control left half done is ended by another", async () => {
  using worker = startHookWorker(fixture.bus);
  const { sha256, manifest } = await upload("left");
  if (manifest === undefined) throw new Error("no manifest");
  const halfway = create(PluginSchema, { manifest, sha256, state: PluginState.STARTING, enabled: true });
  await fixture.bus.kv("plugins").put("left", encodePluginRecord(halfway));
  await untilRecord(fixture.bus, "left", ({ state }) => state === PluginState.ACTIVE);
  const stopping = create(PluginSchema, { manifest, sha256, state: PluginState.STOPPING });
  await fixture.bus.kv("plugins").put("left", encodePluginRecord(stopping));
  await untilRecord(fixture.bus, "left", ({ state }) => state === PluginState.RESOLVED);
  expect(worker.calls.slice(2)).toEqual(["1.0.0.on_enable", "1.0.0.on_disable"]);
});

test("a version takes over only when its own hooks went well", async () => {
  await upload("swap", "1.0.0", { exports: [] });
  const alone = await refusalOfCall(upload("swap", "2.0.0"));
  expect(alone).toMatchObject({ code: "Unavailable" });
  expect(alone.message).toContain("1.0.0 goes on serving");
  {
    using worker = startHookWorker(fixture.bus, ["on_enable"]);
    const sick = await refusalOfCall(upload("swap", "2.0.0"));
    expect(sick.code).toBe("FailedPrecondition");
    expect(sick.message).toContain("on_enable failed: TRAPPED");
    expect(worker.calls).toEqual(["2.0.0.on_install", "2.0.0.on_enable"]);
  }
  const serving = (await fixture.plugins.getPlugin({ name: "swap" })).plugin;
  expect(serving).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "1.0.0" } });
  using worker = startHookWorker(fixture.bus);
  const plugin = await upload("swap", "2.0.0");
  expect(plugin).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "2.0.0" } });
  expect(plugin.previous?.manifest?.version).toBe("1.0.0");
  expect(worker.calls).toEqual(["2.0.0.on_install", "2.0.0.on_enable"]);
});
