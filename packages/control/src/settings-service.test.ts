import { create } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { SettingSource, SettingsRuntimeService } from "@millrace/protocol";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { isFlagOn } from "./evaluate-flag.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
}, 60_000);
afterAll(() => fixture?.[Symbol.asyncDispose](), 30_000);

const text = (value: string): Value => create(ValueSchema, { kind: { case: "stringValue", value } });

it("changes a setting while the system runs, says where each came from, and takes it back", async () => {
  const { settings } = fixture;
  const logLevel = async () => (await settings.listSettings({})).settings.find(({ name }) => name === "logLevel");
  expect(await logLevel()).toMatchObject({ value: text("info"), source: SettingSource.DEFAULT, changeable: true });
  const { setting } = await settings.updateSetting({ name: "logLevel", value: text("warn") });
  expect(setting).toMatchObject({
    value: text("warn"),
    source: SettingSource.DATABASE,
    defaultValue: text("info"),
    variable: "MILLRACE_LOG_LEVEL",
  });
  expect(setting?.updatedAt).toBeDefined();
  expect(await logLevel()).toEqual(setting);
  expect((await settings.resetSetting({ name: "logLevel" })).setting).toMatchObject({
    value: text("info"),
    source: SettingSource.DEFAULT,
  });
});

it("refuses what does not fit, what is not there, and what is read at the start only", async () => {
  const { settings } = fixture;
  const loud = await settings.updateSetting({ name: "logLevel", value: text("loud") }).catch(ConnectError.from);
  expect(loud).toMatchObject({
    code: Code.FailedPrecondition,
    rawMessage: expect.stringContaining('expected one of "trace"'),
  });
  const fast = create(ValueSchema, { kind: { case: "numberValue", value: 1e9 } });
  await expect(settings.updateSetting({ name: "jobRate", value: fast })).rejects.toThrow("<=1000000");
  await expect(settings.updateSetting({ name: "logLevel" })).rejects.toThrow();
  for (const value of [create(ValueSchema), create(ValueSchema, { kind: { case: "numberValue", value: NaN } })]) {
    await expect(settings.updateSetting({ name: "logLevel", value })).rejects.toThrow("must be a JSON value");
  }
  await expect(settings.updateSetting({ name: "toString", value: text("x") })).rejects.toThrow("no setting toString");
  await expect(settings.resetSetting({ name: "never" })).rejects.toThrow("no setting never");
  for (const name of ["loglevel", "logLevl", "strangeRate"]) {
    const meant = name === "strangeRate" ? "strangerRate" : "logLevel";
    const unknown = await settings.getSetting({ name }).catch(ConnectError.from);
    expect(unknown).toMatchObject({ code: Code.NotFound, rawMessage: `no setting ${name}; did you mean ${meant}?` });
  }
});

it("tells other processes at once and at each change", async () => {
  const { settings, transport } = fixture;
  const stop = new AbortController();
  const watch = createClient(SettingsRuntimeService, transport).watchSettings({}, { signal: stop.signal });
  const states = watch[Symbol.asyncIterator]();
  expect((await states.next()).value?.values).toEqual({});
  await settings.updateSetting({ name: "logLevel", value: text("debug") });
  expect((await states.next()).value?.values).toMatchObject({ logLevel: text("debug") });
  // Another change of the same bucket is not one of settings.
  await settings.setFlag({ name: "unrelated", enabled: true });
  await settings.resetSetting({ name: "logLevel" });
  expect((await states.next()).value?.values).toEqual({});
  stop.abort();
});

it("shows what processes say of themselves, for as long as they watch", async () => {
  const { settings, transport, bus } = fixture;
  // One that cannot be read, and one that speaks for another.
  await bus.kv("processes").put("worker.a", new TextEncoder().encode("{"));
  const lie = { process: "gateway", node: "n-2", settings: [{ name: "slots" }] };
  await bus.kv("processes").put("worker.b", new TextEncoder().encode(JSON.stringify(lie)));
  const at = async (name: string) => (await settings.listSettings({})).settings.find((one) => one.name === name);
  const stop = new AbortController();
  const said = {
    process: "gateway",
    node: "n-1",
    settings: [
      { name: "strangerRate", value: text("7"), source: SettingSource.ENVIRONMENT, changeable: true },
      { name: "slots", value: text("64"), source: SettingSource.DEFAULT, variable: "MILLRACE_SLOTS" },
    ],
  };
  const watch = createClient(SettingsRuntimeService, transport).watchSettings(
    { settings: said },
    { signal: stop.signal },
  );
  const ended = (async () => {
    for await (const _ of watch) continue;
  })().catch(() => undefined);
  await expect.poll(() => at("slots")).toBeDefined();
  const own = { process: "gateway", node: "n-1" };
  expect((await at("slots"))?.processes).toMatchObject([{ ...own, value: text("64") }]);
  expect(await at("strangerRate")).toMatchObject({
    source: SettingSource.DEFAULT,
    processes: [{ ...own, value: text("7"), source: SettingSource.ENVIRONMENT }],
  });
  await expect(settings.updateSetting({ name: "slots", value: text("1") })).rejects.toThrow("set MILLRACE_SLOTS");
  stop.abort();
  await ended;
  await expect.poll(() => at("slots")).toBeUndefined();
});

it("brings the broker to what the database holds, whoever changed either", async () => {
  const { bus, store, settings } = fixture;
  const bucket = bus.kv("settings");
  await bucket.put("stale", new TextEncoder().encode("1"));
  await store.settings.put({ name: "logLevel", value: "error", updatedAtMs: 1000 });
  await settings.setFlag({ name: "copy", enabled: false });
  const keys = (await bucket.entries()).map(({ key }) => key).toSorted();
  expect(keys).toEqual(["flag.copy", "flag.unrelated", "logLevel"]);
  await settings.resetSetting({ name: "logLevel" });
});

it("keeps flags, for all or for a share of users", async () => {
  const { settings } = fixture;
  const isOn = async (userId = "") => (await settings.evaluateFlag({ name: "new-page", userId })).enabled;
  expect(await isOn()).toBe(false);
  expect((await settings.setFlag({ name: "new-page", enabled: true })).flag).toMatchObject({ percent: 100 });
  expect(await isOn()).toBe(true);
  await settings.setFlag({ name: "new-page", enabled: true, percent: 30 });
  const users = Array.from({ length: 40 }, (_, index) => `user-${index}`);
  const answers = await Promise.all(users.map(isOn));
  expect(await Promise.all(users.map(isOn))).toEqual(answers);
  expect(answers).toEqual(users.map((user) => isFlagOn("new-page", { enabled: true, percent: 30 }, user)));
  await settings.setFlag({ name: "new-page", enabled: false });
  expect(await isOn("user-1")).toBe(false);
  expect((await settings.listFlags({})).flags.map(({ name, enabled }) => [name, enabled])).toContainEqual([
    "new-page",
    false,
  ]);
  await expect(settings.setFlag({ name: "new-page", enabled: true, percent: 101 })).rejects.toThrow("percent");
  await settings.setFlag({ name: "new-page", enabled: true });
  await settings.deleteFlag({ name: "new-page" });
  expect(await isOn("user-1")).toBe(false);
});

it("a flag reaches its share of users, and none loses it when the share grows", () => {
  const users = Array.from({ length: 5000 }, (_, index) => `user-${index}`);
  for (const percent of [0, 1, 10, 50, 100]) {
    const share = users.filter((user) => isFlagOn("f", { enabled: true, percent }, user)).length / users.length;
    // Four standard deviations of as many throws of a coin that falls like this.
    const spread = 4 * Math.sqrt(((percent / 100) * (1 - percent / 100)) / users.length);
    expect(Math.abs(share - percent / 100)).toBeLessThanOrEqual(spread);
  }
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.nat(100), fc.nat(100), (flag, user, a, b) => {
      const [less, more] = [Math.min(a, b), Math.max(a, b)];
      const isOn = (percent: number) => isFlagOn(flag, { enabled: true, percent }, user);
      expect(isOn(less) && !isOn(more)).toBe(false);
    }),
  );
});
