import { expect, test } from "vitest";
import { parseByteSize } from "./byte-size.ts";

test.each([
  ["0", 0],
  ["67108864", 67_108_864],
  ["64MiB", 64 << 20],
  ["64mib", 64 << 20],
  ["1.5 GiB", 1.5 * 2 ** 30],
  ["500MB", 500_000_000],
  ["10KiB", 10_240],
  ["7 kB", 7000],
  ["2TiB", 2 * 2 ** 40],
  ["12B", 12],
  [" 3 GB ", 3e9],
])("%j is %d bytes", (text, bytes) => {
  expect(parseByteSize(text)).toBe(bytes);
});

test.each([
  "",
  "MiB",
  "64M",
  "64 Mi",
  "1.5",
  "1.5B",
  "-1",
  "-1MiB",
  "1e3",
  "1,5GiB",
  "0x10",
  "64MiB/s",
  "9000000TiB",
  "64 MiB 1",
])("%j is no size", (text) => {
  expect(parseByteSize(text)).toBeUndefined();
});
