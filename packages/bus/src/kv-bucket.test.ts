import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { startTestNats, type TestNats } from "./testing.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const read = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
});

afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

it("reads what was written, and respects revisions", async () => {
  const kv = bus.kv("queues");
  expect(await kv.get("a")).toBeUndefined();
  const first = await kv.create("a", text("1"));
  await expect(kv.create("a", text("2"))).rejects.toMatchObject({ code: "already_exists" });
  await kv.update("a", text("2"), first);
  await expect(kv.update("a", text("3"), first)).rejects.toMatchObject({ code: "aborted" });
  expect(read((await kv.get("a"))?.value)).toBe("2");
  await kv.delete("a");
  expect(await kv.get("a")).toBeUndefined();
  await kv.create("a", text("4"));
  expect((await kv.entries()).map((entry) => [entry.key, read(entry.value)])).toEqual([["a", "4"]]);
  await kv.delete("a");
  expect(await kv.compact()).toBe(1);
  const second = await kv.update("b", text("2"), await kv.create("b", text("1")));
  await expect(kv.remove("b", second - 1)).rejects.toMatchObject({ code: "aborted" });
  expect(read((await kv.get("b"))?.value)).toBe("2");
  await kv.remove("b", second);
  expect([await kv.get("b"), await kv.compact()]).toEqual([undefined, 0]);
  await expect(kv.put("not a key", text(""))).rejects.toMatchObject({ code: "invalid_argument" });
});

it("tells an empty bucket that it is ready", async () => {
  await using watch = bus.kv("settings").watch({ onEntry: () => undefined });
  await watch.ready;
});

it("watches what is there and what comes, across a kill -9 of the broker", async () => {
  const kv = bus.kv("plugins");
  await kv.put("one", text("1"));
  await kv.put("two", text("2"));
  const seen = new Map<string, string | undefined>();
  let waiting: { done: () => boolean; resolve: () => void } | undefined;
  const until = (done: () => boolean): Promise<void> =>
    new Promise((resolve) => {
      if (done()) resolve();
      else waiting = { done, resolve };
    });
  await using watch = kv.watch({
    onEntry: (key, entry) => {
      seen.set(key, read(entry?.value));
      if (waiting?.done() === true) waiting.resolve();
    },
  });
  await watch.ready;
  expect([...seen]).toEqual([
    ["one", "1"],
    ["two", "2"],
  ]);
  await kv.delete("one");
  await until(() => seen.get("one") === undefined);
  await nats.kill9();
  await nats.restart();
  // Written by another, perhaps before the watcher is back.
  await using other = await connectBus({ servers: nats.url, name: "other" });
  await other.kv("plugins").put("two", text("3"));
  await other.kv("plugins").put("three", text("3"));
  await until(() => seen.get("two") === "3" && seen.get("three") === "3");
});

it("lists more keys than the broker tells at once", async () => {
  await using publisher = bus.publisher();
  const count = 100_001;
  function* messages() {
    for (let i = 0; i < count; i++) yield { subject: `$KV.millrace_unique.many.${i}`, data: text("") };
  }
  expect(await publisher.publishMany(messages())).toEqual({ stored: count, failed: 0 });
  await bus.kv("unique").put("other", text(""));
  const keys = await bus.kv("unique").keys("many.*");
  expect([keys.length, new Set(keys).size, keys.includes("other")]).toEqual([count, count, false]);
});
