import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PluginStore, storeLimits } from "./plugin-store.ts";

const encoder = new TextEncoder();
const text = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);

let nats: TestNats;
let bus: Bus;
let store: PluginStore;
beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
  store = new PluginStore(bus);
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

const used = async (plugin: string): Promise<number> => Number(text((await bus.kv("pluginState").get(plugin))?.value));

test("keeps values of any key, apart for each plugin", async () => {
  const one = { plugin: "one", quotaBytes: 1000 };
  const two = { plugin: "two", quotaBytes: 1000 };
  await store.set(one, "a/b c.*>", encoder.encode("1"), 0);
  await store.set(two, "a/b c.*>", encoder.encode("2"), 0);
  await store.set(one, "größe", encoder.encode(""), 0);
  expect(text(await store.get(one, "a/b c.*>"))).toBe("1");
  expect(text(await store.get(two, "a/b c.*>"))).toBe("2");
  expect(text(await store.get(one, "größe"))).toBe("");
  expect(await store.get(one, "none")).toBeUndefined();
  expect(await store.list(one, "", 10)).toEqual(["a/b c.*>", "größe"]);
  expect(await store.list(one, "g", 10)).toEqual(["größe"]);
  expect(await store.list(one, "", 1)).toEqual(["a/b c.*>"]);
  await store.delete(one, "größe");
  await store.delete(one, "größe");
  expect(await store.list(one, "", 10)).toEqual(["a/b c.*>"]);
  expect(await used("one")).toBe(64 + 9);
});

test("lists without end keep no other plugin from its own", async () => {
  const [busy, other] = [
    { plugin: "busy", quotaBytes: 1000 },
    { plugin: "other", quotaBytes: 1000 },
  ];
  for (const owner of [busy, other]) await store.set(owner, "k", encoder.encode("1"), 0);
  let listed = 0;
  using _ = bus.subscribe("$JS.API.STREAM.INFO.*", {}, (message) => {
    if (new TextDecoder().decode(message.data).includes("subjects_filter")) listed++;
  });
  const lists = Array.from({ length: 100 }, () => store.list(busy, "", 10));
  expect(await store.list(other, "", 10)).toEqual(["k"]);
  expect(listed).toBeLessThanOrEqual(3);
  expect(new Set((await Promise.all(lists)).map(String))).toEqual(new Set(["k"]));
  await store.set(busy, "l", encoder.encode("1"), 0);
  expect(await store.list(busy, "", 10)).toEqual(["k", "l"]);
  expect(listed).toBeGreaterThan(1);
});

test("refuses what is beyond the quota, to the byte", async () => {
  const owner = { plugin: "full", quotaBytes: 2 * 64 + 20 };
  await store.set(owner, "k", new Uint8Array(19), 0);
  await expect(store.set(owner, "l", new Uint8Array(0), 0)).rejects.toMatchObject({
    code: "HOST_DENIED",
    fatal: false,
    breach: { resource: "kv", figure: 149, limit: 148, unit: "bytes" },
  });
  await store.set(owner, "k", new Uint8Array(18), 0);
  await store.set(owner, "l", new Uint8Array(0), 0);
  await store.delete(owner, "k");
  expect(await used("full")).toBe(64 + 1);
  const tooLarge = store.set(owner, "k", new Uint8Array(storeLimits.valueBytes + 1), 0);
  await expect(tooLarge).rejects.toMatchObject({ breach: { resource: "kv" } });
  await expect(store.set(owner, "k".repeat(257), new Uint8Array(1), 0)).rejects.toMatchObject({ fatal: false });
});

test("keeps the quota under writers that race", async () => {
  const owner = { plugin: "race", quotaBytes: 5 * 84 };
  const writes = await Promise.allSettled(
    Array.from({ length: 12 }, (_, i) => store.set(owner, `k${String(i).padStart(3, "0")}`, new Uint8Array(16), 0)),
  );
  expect(writes.filter(({ status }) => status === "fulfilled")).toHaveLength(5);
  expect(await used("race")).toBe(5 * 84);
  await Promise.all(Array.from({ length: 6 }, (_, i) => store.set(owner, "k000", new Uint8Array(i), 0).catch(() => 0)));
  const left = (await store.list(owner, "", 100)).length;
  const last = (await store.get(owner, "k000"))?.length ?? -1;
  if (last >= 0) expect(await used("race")).toBe((left - 1) * 84 + 64 + 4 + last);
});

test("counts anew what a dead worker has reserved", async () => {
  const owner = { plugin: "dead", quotaBytes: 74 };
  await bus.kv("pluginState").put("dead", encoder.encode("74"));
  await store.set(owner, "k", new Uint8Array(9), 0);
  expect(await used("dead")).toBe(74);
});

test("forgets what has expired", async () => {
  const owner = { plugin: "late", quotaBytes: 100 };
  await store.set(owner, "k", new Uint8Array(9), 1);
  await expect.poll(() => store.get(owner, "k")).toBeUndefined();
  expect(await store.list(owner, "", 10)).toEqual([]);
  expect(await used("late")).toBe(0);
});

test("keeps nothing of keys that have gone", async () => {
  const owner = { plugin: "churn", quotaBytes: 250 };
  for (let i = 0; i < 5; i++) {
    await store.set(owner, `deleted ${i}`, new Uint8Array(9), 0);
    await store.delete(owner, `deleted ${i}`);
    await store.set(owner, `expired ${i}`, new Uint8Array(9), 1);
    await expect.poll(() => store.get(owner, `expired ${i}`)).toBeUndefined();
  }
  for (let i = 0; i < 12; i++) await store.set(owner, `counted ${i}`, new Uint8Array(30), 1);
  expect((await bus.kv("pluginState").entries()).filter(({ key }) => key.startsWith("churn.")).length).toBeLessThan(12);
  expect(await bus.kv("pluginState").compact()).toBe(0);
});
