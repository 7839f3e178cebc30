import { expect, it } from "vitest";
import { createMeterCache } from "./meter-cache.ts";
import { compileWat } from "./testing/compile-wat.ts";
import { testLimits } from "./testing/metered-instance.ts";

const one = compileWat(`(module (func (export "one")))`);
const two = compileWat(`(module (func (export "two")))`);

it("gives the same module for the same bytes, limits and options", async () => {
  const cache = createMeterCache({ maxBytes: 10_000 });
  const first = await cache.meter(one, testLimits);
  expect(await cache.meter(one.slice(), { callDepth: 1000, tableEntries: 100, memoryPages: 10 })).toBe(first);
  expect(await cache.meter(two, testLimits)).not.toBe(first);
  expect(await cache.meter(one, { ...testLimits, callDepth: 999 })).not.toBe(first);
  expect(await cache.meter(one, testLimits, { exportState: true })).not.toBe(first);
  expect(await cache.meter(one, testLimits, { hostCallFuel: 1 })).not.toBe(first);
  expect(await cache.meter(one, testLimits)).toBe(first);
});

it("tells renaming functions apart by their key", async () => {
  const cache = createMeterCache({ maxBytes: 10_000 });
  const renameExport = (name: string) => `${name}!`;
  await expect(cache.meter(one, testLimits, { renameExport })).rejects.toThrow(TypeError);
  const first = await cache.meter(one, testLimits, { renameExport, key: "shout" });
  expect(await cache.meter(one, testLimits, { renameExport, key: "shout" })).toBe(first);
  expect(await cache.meter(one, testLimits)).not.toBe(first);
});

it("forgets the longest unused first, and holds no more than its bytes", async () => {
  const size = (await createMeterCache({ maxBytes: 10_000 }).meter(one, testLimits)).module.length;
  const cache = createMeterCache({ maxBytes: 2 * size });
  const first = await cache.meter(one, testLimits);
  const second = await cache.meter(two, testLimits);
  expect(await cache.meter(one, testLimits)).toBe(first);
  await cache.meter(one, { ...testLimits, callDepth: 999 });
  expect(cache.bytes).toBe(2 * size);
  expect(await cache.meter(one, testLimits)).toBe(first);
  expect(await cache.meter(two, testLimits)).not.toBe(second);
  const tiny = createMeterCache({ maxBytes: 1, hash: async (module) => String(module.length) });
  await tiny.meter(one, testLimits);
  expect(tiny.bytes).toBe(0);
});
