import { afterAll, beforeAll, expect, test } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { LeaderLease, leaseMs } from "./leader-lease.ts";
import { startTestNats } from "./testing.ts";

const stack = new AsyncDisposableStack();
let bus: Bus;
let url: string;
beforeAll(async () => {
  const nats = stack.use(await startTestNats());
  url = nats.url;
  bus = stack.use(await connectBus({ servers: url, name: "test" }));
  await bus.ensureTopology();
}, 60_000);
afterAll(() => stack.disposeAsync());

const forever = new AbortController().signal;

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

test("one leads, and another follows when the lease is given back", { timeout: 30_000 }, async () => {
  const first = await LeaderLease.acquire(bus, "work", "first", forever);
  let led = false;
  const second = LeaderLease.acquire(bus, "work", "second", forever).then((lease) => {
    led = true;
    return lease;
  });
  // Past a renewal.
  const renewed = Promise.withResolvers<void>();
  await using watch = bus.kv("leaders").watch({
    keys: "work",
    onEntry: (_, entry) => entry !== undefined && entry.revision > 1 && renewed.resolve(),
  });
  void watch;
  await renewed.promise;
  expect([led, first?.over.aborted]).toEqual([false, false]);
  const startedAtMs = performance.now();
  await first?.[Symbol.asyncDispose]();
  const lease = await second;
  expect(performance.now() - startedAtMs).toBeLessThan(leaseMs / 2);
  await lease?.[Symbol.asyncDispose]();
});

test("a leader that is silent is followed, and knows before", { timeout: 60_000 }, async () => {
  const own = await connectBus({ servers: url, name: "lost" });
  const lost = await LeaderLease.acquire(own, "work", "lost", forever);
  if (lost === undefined) throw new Error("no lease");
  const startedAtMs = performance.now();
  const next = LeaderLease.acquire(bus, "work", "next", forever);
  await own[Symbol.asyncDispose]();
  await aborted(lost.over);
  const overAfterMs = performance.now() - startedAtMs;
  const lease = await next;
  const followedAfterMs = performance.now() - startedAtMs;
  expect(overAfterMs).toBeLessThan(followedAfterMs);
  expect(followedAfterMs).toBeLessThan(2 * leaseMs);
  await lost[Symbol.asyncDispose]();
  await lease?.[Symbol.asyncDispose]();
});

test("a lease that somebody took is over", { timeout: 30_000 }, async () => {
  const lease = await LeaderLease.acquire(bus, "work", "robbed", forever);
  if (lease === undefined) throw new Error("no lease");
  await bus.kv("leaders").put("work", new TextEncoder().encode("robber"));
  await aborted(lease.over);
  await lease[Symbol.asyncDispose]();
  expect(await bus.kv("leaders").get("work")).toBeDefined();
});

test("who leads for one work is in nobody's way for another", { timeout: 30_000 }, async () => {
  await using one = await LeaderLease.acquire(bus, "one", "same", forever);
  await using other = await LeaderLease.acquire(bus, "other", "same", forever);
  expect([one?.over.aborted, other?.over.aborted]).toEqual([false, false]);
});

test("who no longer waits gets none", async () => {
  expect(await LeaderLease.acquire(bus, "work", "late", AbortSignal.abort())).toBeUndefined();
});
