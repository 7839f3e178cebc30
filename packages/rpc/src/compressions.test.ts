import { randomBytes } from "node:crypto";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import fc from "fast-check";
import { expect, test } from "vitest";
import { compressionOf } from "./compressions.ts";

const params = { [constants.BROTLI_PARAM_QUALITY]: 4 }; // the best takes a second for each of the larger ones
const pack = { gzip: gzipSync, br: (bytes: Uint8Array) => brotliCompressSync(bytes, { params }) };
const mebibyte = 1024 * 1024;

async function unpack(name: keyof typeof pack, bytes: Uint8Array, maxBytes = 8 * mebibyte): Promise<Uint8Array> {
  const compression = compressionOf(name, "accept-encoding");
  if (compression === undefined) throw new Error(`no ${name}`);
  return compression.decompress(bytes, maxBytes);
}

test.each(["gzip", "br"] as const)("what %s has packed comes out as it went in, at every size", async (name) => {
  const bounds = [0, 1, 65_535, 65_536, 65_537, mebibyte, mebibyte + 1, 3 * mebibyte];
  const sizes = fc.oneof(fc.constantFrom(...bounds), fc.nat(300_000));
  await fc.assert(
    fc.asyncProperty(sizes, fc.nat(255), fc.boolean(), async (size, seed, plain) => {
      const bytes = Buffer.alloc(size, seed);
      // Little of it can be packed: the packed form is large as well.
      if (!plain) for (let at = 0; at < size; at += 1) bytes[at] = Math.imul(at + seed, 0x9e3779b1) >>> 24;
      const unpacked = await unpack(name, pack[name](bytes));
      expect(bytes.equals(unpacked)).toBe(true);
    }),
    { numRuns: 40 },
  );
});

test.each(["gzip", "br"] as const)(
  "%s is held to the bound, and broken bytes are the caller's mistake",
  async (name) => {
    for (const size of [1_000, 65_536, mebibyte]) {
      const packed = pack[name](Buffer.alloc(size, 0x20));
      expect(await unpack(name, packed, size)).toHaveLength(size);
      await expect(unpack(name, packed, size - 1)).rejects.toMatchObject({
        code: Code.ResourceExhausted,
        rawMessage: `message is larger than configured readMaxBytes ${size - 1} after decompression`,
      });
      await expect(unpack(name, packed.subarray(0, -8))).rejects.toMatchObject({ code: Code.InvalidArgument });
    }
    const noise = Buffer.alloc(100_000, 0xff);
    await expect(unpack(name, noise)).rejects.toMatchObject({ code: Code.InvalidArgument });
  },
);

test("of many large ones at once some are told to come again, and the next ones find room", async () => {
  const packed = gzipSync(Buffer.alloc(4 * mebibyte, 0x20));
  const all = await Promise.allSettled(Array.from({ length: 150 }, () => unpack("gzip", packed)));
  const refused = all.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
  expect(refused.length).toBeGreaterThan(0);
  expect(refused.length).toBeLessThan(60);
  expect(refused[0]).toMatchObject({ code: Code.Unavailable, rawMessage: "too many packed messages at once" });
  expect(await unpack("gzip", packed)).toHaveLength(4 * mebibyte);
});

test("those that wait are bounded in their bytes, and served in their order", async () => {
  const packed = gzipSync(randomBytes(8 * mebibyte), { level: 0 });
  const order: number[] = [];
  const one = (_: unknown, n: number) => unpack("gzip", packed).then(() => order.push(n));
  const all = await Promise.allSettled(Array.from({ length: 30 }, one));
  const served = all.flatMap(({ status }, n) => (status === "fulfilled" ? [n] : []));
  expect(order).toEqual(served);
  expect(served.length).toBeGreaterThan(5);
  expect(served.length).toBeLessThan(12);
  // One that is larger by itself has its turn when nothing waits.
  const huge = gzipSync(randomBytes(65 * mebibyte), { level: 0 });
  expect(await unpack("gzip", huge, 80 * mebibyte)).toHaveLength(65 * mebibyte);
});
