import { createClient } from "@connectrpc/connect";
import { PluginService, PluginState, type Plugin } from "@millrace/protocol";
import { createDirectTransport, createPipeline } from "@millrace/rpc";
import { openStore } from "@millrace/store";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { refusalOfCall, testModule } from "./plugin-fixture.ts";
import { startControl } from "./start-control.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

async function upload(
  name: string,
  version: string,
  more: { mark?: string; type?: string; canaryPercent?: number; grants?: string[]; kvBytes?: bigint } = {},
): Promise<Plugin> {
  const { mark = version, type = `${name}_job`, canaryPercent = 0, grants = [], kvBytes = 0n } = more;
  const capabilities = { http: ["api.example.com"], kvBytes, jobs: ["*"] };
  const { plugin } = await fixture.plugins.uploadPlugin({
    manifest: { name, version, handlers: [{ type, export: "run" }], capabilities },
    module: testModule(["run"], `${name} ${mark}`),
    canaryPercent,
    grants,
  });
  if (plugin === undefined) throw new Error("no plugin");
  return plugin;
}

const versionsOf = async (name: string): Promise<(string | undefined)[]> =>
  (await fixture.plugins.listPluginVersions({ name })).versions.map(({ manifest }) => manifest?.version);

test("a number stands for one module, unless it is a -dev prerelease", async () => {
  await upload("numbers", "1.0.0");
  await upload("numbers", "1.0.0");
  const error = await refusalOfCall(upload("numbers", "1.0.0", { mark: "other" }));
  expect(error).toMatchObject({ code: "AlreadyExists" });
  expect(error.message).toContain("1.0.0-dev");
  await upload("numbers", "1.1.0-dev", { mark: "one" });
  await upload("numbers", "1.1.0-dev", { mark: "two" });
  expect(await versionsOf("numbers")).toEqual(["1.1.0-dev", "1.1.0-dev", "1.0.0"]);
});

test("a rollback serves the version before, or a named one", async () => {
  for (const version of ["1.0.0", "2.0.0", "3.0.0"]) await upload("back", version);
  const { plugin } = await fixture.plugins.rollbackPlugin({ name: "back" });
  expect(plugin).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "2.0.0" } });
  expect(plugin?.stateReason).toBe("went back from 3.0.0");
  expect(plugin?.previous?.manifest?.version).toBe("3.0.0");
  const again = (await fixture.plugins.rollbackPlugin({ name: "back" })).plugin;
  expect(again?.manifest?.version).toBe("3.0.0");
  const first = (await fixture.plugins.rollbackPlugin({ name: "back", version: "1.0.0" })).plugin;
  expect(first?.manifest?.version).toBe("1.0.0");
  const hash = again?.sha256.slice(0, 8) ?? "";
  const byHash = (await fixture.plugins.rollbackPlugin({ name: "back", version: hash })).plugin;
  expect(byHash).toMatchObject({ manifest: { version: "3.0.0" }, state: PluginState.ACTIVE });
  expect(await refusalOfCall(fixture.plugins.rollbackPlugin({ name: "back", version: "9.9.9" }))).toMatchObject({
    code: "NotFound",
  });
  await upload("alone", "1.0.0");
  expect(await refusalOfCall(fixture.plugins.rollbackPlugin({ name: "alone" }))).toMatchObject({
    code: "FailedPrecondition",
  });
});

test("a rollback of a plugin that is switched off leaves it off", async () => {
  for (const version of ["1.0.0", "2.0.0"]) await upload("off", version);
  await fixture.plugins.disablePlugin({ name: "off" });
  const { plugin } = await fixture.plugins.rollbackPlugin({ name: "off" });
  expect(plugin).toMatchObject({ state: PluginState.RESOLVED, manifest: { version: "1.0.0" } });
});

test("a canary runs beside the version that serves, until it is promoted or taken back", async () => {
  expect(await refusalOfCall(upload("canary", "1.0.0", { canaryPercent: 10 }))).toMatchObject({
    code: "FailedPrecondition",
  });
  await upload("canary", "1.0.0");
  const trial = await upload("canary", "2.0.0", { canaryPercent: 10 });
  expect(trial).toMatchObject({ state: PluginState.ACTIVE, manifest: { version: "1.0.0" } });
  expect(trial.canary).toMatchObject({ percent: 10, version: { manifest: { version: "2.0.0" } } });
  const back = (await fixture.plugins.rollbackPlugin({ name: "canary" })).plugin;
  expect(back).toMatchObject({
    manifest: { version: "1.0.0" },
    stateReason: "canary 2.0.0 was taken back by an operator",
  });
  expect(back?.canary).toBeUndefined();
  await upload("canary", "2.0.0", { canaryPercent: 50 });
  const promoted = (await fixture.plugins.promotePlugin({ name: "canary" })).plugin;
  expect(promoted).toMatchObject({ manifest: { version: "2.0.0" }, stateReason: "" });
  expect(promoted?.previous?.manifest?.version).toBe("1.0.0");
  expect(promoted?.canary).toBeUndefined();
  expect(await refusalOfCall(fixture.plugins.promotePlugin({ name: "canary" }))).toMatchObject({
    code: "FailedPrecondition",
  });
});

test("what is granted is what is declared and given, for every version", async () => {
  const none = await upload("grants", "1.0.0", { kvBytes: 10n });
  expect(none.granted).toMatchObject({ http: [], kvBytes: 0n, jobs: [] });
  const all = await upload("grants", "2.0.0", { kvBytes: 20n, grants: ["all"] });
  expect(all.granted).toMatchObject({ http: ["api.example.com"], kvBytes: 20n, jobs: ["*"] });
  const less = (await fixture.plugins.grantPlugin({ name: "grants", grants: ["kv"] })).plugin;
  expect(less?.granted).toMatchObject({ http: [], kvBytes: 20n, jobs: [] });
  const back = (await fixture.plugins.rollbackPlugin({ name: "grants", version: "1.0.0" })).plugin;
  expect(back?.granted).toMatchObject({ http: [], kvBytes: 10n, jobs: [] });
  expect((await fixture.plugins.listPluginVersions({ name: "grants" })).versions[0]?.granted?.http).toEqual([]);
  const unknown = await refusalOfCall(fixture.plugins.grantPlugin({ name: "grants", grants: ["files"] }));
  expect(unknown).toMatchObject({ code: "InvalidArgument" });
});

test("what no version declares cannot be granted, and the answer names what can", async () => {
  const message = "grants: kv cannot be granted: the manifest declares http, jobs only";
  const pushed = await refusalOfCall(upload("undeclared", "1.0.0", { grants: ["http", "kv"] }));
  expect(pushed).toMatchObject({ code: "FailedPrecondition", message });
  await upload("undeclared", "1.0.0", { grants: ["http"] });
  const granted = await refusalOfCall(fixture.plugins.grantPlugin({ name: "undeclared", grants: ["http", "kv"] }));
  expect(granted).toMatchObject({ code: "FailedPrecondition", message });
  expect((await fixture.plugins.getPlugin({ name: "undeclared" })).plugin?.granted?.http).toEqual(["api.example.com"]);
  // One that waits for its turn counts too.
  await upload("undeclared", "1.1.0", { kvBytes: 5n, canaryPercent: 10 });
  const { plugin } = await fixture.plugins.grantPlugin({ name: "undeclared", grants: ["kv"] });
  expect([plugin?.granted?.kvBytes, plugin?.canary?.version?.granted?.kvBytes]).toEqual([0n, 5n]);
});

test("a module that is uploaded while it is forgotten stays", async () => {
  const again = { mark: "0" };
  const { manifest, sha256, sizeBytes } = await upload("loop", "1.0.0-dev", again);
  // It neither serves nor is what would be gone back to.
  for (const mark of ["1", "2"]) await upload("loop", "1.0.0-dev", { mark });
  if (manifest === undefined) throw new Error("no manifest");
  for (let n = 3; n < 20; n++) {
    const row = { manifest, sha256: `${n}`.padStart(64, "0"), sizeBytes: Number(sizeBytes), signature: undefined };
    await fixture.store.insertPluginVersion({ ...row, grants: [], replaceable: true, uploadedAtMs: Date.now() });
  }
  const { store, bus } = fixture;
  const look = store.hasPluginModule.bind(store);
  using looked = vi.spyOn(store, "hasPluginModule").mockImplementationOnce(async (hash) => {
    const isNeeded = await look(hash);
    await upload("loop", "1.0.0-dev", again);
    return isNeeded;
  });
  await upload("loop", "1.0.0-dev", { mark: "3" });
  expect([looked.mock.calls[0], await looked.mock.results[0]?.value]).toEqual([[sha256], false]);
  expect((await bus.modules.get(sha256)).length).toBe(Number(sizeBytes));
});

test("two controls never give one type to two plugins", async () => {
  const { bus, store } = fixture;
  const logger = createLogger({ name: "other-control", level: "silent" });
  await using other = await startControl({}, { bus, store, logger, metrics: createMetrics(), health: new Health() });
  const pipeline = createPipeline({ services: other.services });
  const clients = [fixture.plugins, createClient(PluginService, createDirectTransport(pipeline))];
  for (let round = 0; round < 5; round++) {
    const type = `shared_${round}`;
    const uploads = clients.map((client, index) => {
      const name = `rival-${round}-${index}`;
      const handlers = [{ type, export: "run" }];
      return client.uploadPlugin({ manifest: { name, version: "1.0.0", handlers }, module: testModule(["run"], name) });
    });
    const ends = await Promise.allSettled(uploads);
    const { plugins } = await fixture.plugins.listPlugins({});
    const servers = plugins.filter(({ manifest }) => manifest?.handlers.some((handler) => handler.type === type));
    expect(servers).toHaveLength(1);
    expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  }
});

test("a type is free again when its plugin is deleted, or does not serve it any more", async () => {
  await upload("first", "1.0.0", { type: "moving" });
  await upload("first", "2.0.0", { type: "other" });
  await upload("second", "1.0.0", { type: "moving" });
  await fixture.plugins.deletePlugin({ name: "second" });
  await upload("third", "1.0.0", { type: "moving" });
});

test("without the database nothing is uploaded, and what is installed can be steered", async () => {
  for (const version of ["1.0.0", "2.0.0"]) await upload("steered", version);
  const { bus } = fixture;
  const logger = createLogger({ name: "lone-control", level: "silent" });
  await using store = await openStore({ databaseUrl: "postgres://nobody@127.0.0.1:1/none" });
  await using lone = await startControl({}, { bus, store, logger, metrics: createMetrics(), health: new Health() });
  const plugins = createClient(PluginService, createDirectTransport(createPipeline({ services: lone.services })));
  const manifest = { name: "steered", version: "3.0.0", handlers: [{ type: "steered_job", export: "run" }] };
  const error = await refusalOfCall(plugins.uploadPlugin({ manifest, module: testModule(["run"], "3") }));
  expect(error).toMatchObject({ code: "Unavailable" });
  expect((await plugins.rollbackPlugin({ name: "steered" })).plugin?.manifest?.version).toBe("1.0.0");
  expect((await plugins.disablePlugin({ name: "steered" })).plugin?.state).toBe(PluginState.RESOLVED);
});

test("a platform that is too old is named", async () => {
  const handlers = [{ type: "future", export: "run" }];
  const manifest = { name: "future", version: "1.0.0", handlers, minimumPlatform: "99.0.0" };
  const error = await refusalOfCall(fixture.plugins.uploadPlugin({ manifest, module: testModule(["run"]) }));
  expect(error).toMatchObject({ code: "FailedPrecondition" });
  expect(error.message).toContain("99.0.0");
});
