import { expect, test } from "vitest";
import { silentLogger } from "./bus-logger.ts";
import { StoreDisk, type DiskFigures } from "./store-disk.ts";

const gibibyte = 2 ** 30;

/** Of a disk of so many GiB, with so much free. */
function disk(whole: number, free: number): DiskFigures {
  const bsize = 4096;
  const blocks = (whole * gibibyte) / bsize;
  const left = Math.floor((free * gibibyte) / bsize);
  return { blocks, bfree: left, bavail: left, bsize };
}

test("says how full the disk is, once in the log, and keeps to it until there is clearly room", async () => {
  let figures = disk(100, 50);
  const said: string[] = [];
  const say = (_: object, words: string): void => void said.push(words);
  const logger = { ...silentLogger, info: say, warn: say, error: say };
  using store = new StoreDisk("/store", { logger, everyMs: 60_000, read: () => Promise.resolve(figures) });
  const after = async (whole: number, free: number): Promise<unknown[]> => {
    figures = disk(whole, free);
    await store.look();
    return [store.reason, store.alarm];
  };
  await store.look();
  expect(await after(100, 50)).toEqual([undefined, undefined]);
  expect(await after(100, 4)).toEqual([undefined, "the disk of the broker's store is 96 % full (/store)"]);
  expect(await after(100, 5.2)).toEqual([undefined, "the disk of the broker's store is 95 % full (/store)"]);
  expect(await after(100, 0.01)).toEqual(["the disk of the broker's store is 100 % full (/store)", undefined]);
  expect(await after(100, 0.064)).toEqual(["the disk of the broker's store is 100 % full (/store)", undefined]);
  expect(await after(100, 9)).toEqual([undefined, undefined]);
  // A large disk with little left in shares has room all the same.
  expect(await after(10_000, 20)).toEqual([undefined, undefined]);
  expect(said).toEqual([
    "disk of the broker's store fills up",
    "disk of the broker's store is full: it stores nothing",
    "disk of the broker's store has room again",
  ]);
});

test("asks once at a time, and survives a disk that cannot be read", async () => {
  const { promise, reject } = Promise.withResolvers<DiskFigures>();
  let asked = 0;
  const read = (): Promise<DiskFigures> => {
    asked++;
    return promise;
  };
  using store = new StoreDisk("/store", { logger: silentLogger, everyMs: 60_000, read });
  await store.look();
  await store.look();
  expect(asked).toBe(1);
  reject(new Error("gone"));
  await promise.catch(() => undefined);
  await Promise.resolve();
  await store.look();
  expect(asked).toBe(2);
  expect([store.reason, store.alarm]).toEqual([undefined, undefined]);
});
