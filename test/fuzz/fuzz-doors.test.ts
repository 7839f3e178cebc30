/** A short look at what `npm run test:fuzz` does at length. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFuzzTarget, type FuzzTarget } from "./fuzz-target.ts";
import { nameOf, offeredMethods, runFuzz } from "./run-fuzz.ts";

// The long run goes elsewhere each time; this one holds what is known.
const seed = 1;
const requests = 2_000;
const mebibyte = 1024 * 1024;
/** What a young process still takes for code that runs for the first time, and for tables that fill. */
const maxGrownHeap = 24 * mebibyte;
let target: FuzzTarget;

beforeAll(async () => {
  target = await startFuzzTarget();
}, 120_000);
afterAll(() => target?.[Symbol.asyncDispose](), 60_000);

test("every method refuses on every door what it cannot take, and nothing else happens", async () => {
  const report = await runFuzz(target, { seed, requests, window: 1_000 });
  expect(report.failures).toEqual([]);
  expect(report.sent).toBe(requests);
  expect([...report.answers.keys()].toSorted()).toEqual(["connect", "grpc", "grpc-web", "rest"]);
  expect([...report.methods.keys()]).toEqual(offeredMethods().map(nameOf));
  const untried = [...report.methods].filter(([, { sent }]) => sent === 0).map(([name]) => name);
  expect(untried).toEqual([]);
  // A run that gets no further than the first check would find nothing.
  const deep = [...report.methods.values()].filter(({ ok }) => ok > 0);
  expect(deep.length).toBeGreaterThan(report.methods.size / 2);
  const [, first] = report.memory;
  const last = report.memory.at(-1);
  expect((last?.heapUsed ?? 0) - (first?.heapUsed ?? 0)).toBeLessThan(maxGrownHeap);
}, 120_000);
