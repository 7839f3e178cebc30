import { promisify } from "node:util";
import { brotliDecompress, gunzip, type ZlibOptions } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";
import type { Piscina } from "piscina";
import { isTooLarge, type UnpackAnswer, type UnpackWish } from "./unpack-wish.ts";

export type Compression = typeof compressionGzip;

/** Large messages that wait to be unpacked. Each may be a bomb, which takes some 20 ms to reach the bound. */
const maxWaiting = 100;
/** Of them together, as they came, unless it is a single one: bodies that are whole count nowhere else. */
const maxWaitingBytes = 64 * 1024 * 1024;

/** A message that has no more plain bytes is unpacked at once, into a single piece of memory. */
const smallBytes = 64 * 1024;

/** 0 to 19: whatever else wants the processor gets about nine times this thread's share of it. */
const nice = 10;

type Unpack = (bytes: Uint8Array, options: ZlibOptions) => Promise<Buffer<ArrayBuffer>>;

/** What callers may pack messages with. */
export const compressions: readonly Compression[] = [
  inBounds(compressionGzip, "gzip", promisify(gunzip) as Unpack),
  inBounds(compressionBrotli, "br", promisify(brotliDecompress) as Unpack),
];

function inBounds(compression: Compression, name: UnpackWish["name"], unpack: Unpack): Compression {
  return {
    ...compression,
    async decompress(bytes, readMaxBytes) {
      if (bytes.byteLength === 0) return new Uint8Array(0);
      if (bytes.byteLength > smallBytes) return unpackLarge({ name, bytes, maxBytes: readMaxBytes });
      try {
        return await unpack(bytes, { maxOutputLength: Math.min(smallBytes, readMaxBytes), chunkSize: smallBytes });
      } catch (error) {
        if (!isTooLarge(error)) throw broken(error);
        if (readMaxBytes <= smallBytes) throw tooLarge(readMaxBytes);
        return unpackLarge({ name, bytes, maxBytes: readMaxBytes });
      }
    },
  };
}

let pool: Promise<Piscina<UnpackWish, UnpackAnswer>> | undefined;
let waitingBytes = 0;

/**
 * In a thread of their own, one after the other: the memory that a bomb takes piece by piece until it is known for one would
 * bring up this thread's garbage collector, and all of them at once would take the processors from the calls that are small.
 */
async function unpackLarge(wish: UnpackWish): Promise<Uint8Array<ArrayBuffer>> {
  pool ??= startPool();
  const threads = await pool.catch((error: unknown) => {
    // Files may be too many at the moment; the next one tries again.
    pool = undefined;
    throw error;
  });
  const size = wish.bytes.byteLength;
  if (threads.queueSize >= maxWaiting || (waitingBytes > 0 && waitingBytes + size > maxWaitingBytes)) {
    throw new ConnectError("too many packed messages at once", Code.Unavailable, { "retry-after": "1" });
  }
  waitingBytes += size;
  try {
    // A copy of its own can be handed over; what V8 would make of it to send it takes ten times as long.
    const bytes = new Uint8Array(wish.bytes);
    const answer = await threads.run({ ...wish, bytes }, { transferList: [bytes.buffer] });
    if (answer === "too large") throw tooLarge(wish.maxBytes);
    if (answer === "broken") throw broken();
    return answer;
  } finally {
    waitingBytes -= size;
  }
}

/** Loaded when it is needed: most services never get such a message. */
async function startPool(): Promise<Piscina<UnpackWish, UnpackAnswer>> {
  const { Piscina } = await import("piscina");
  const threads = new Piscina<UnpackWish, UnpackAnswer>({
    filename: new URL("./unpack-thread.ts", import.meta.url).href,
    name: "unpack",
    minThreads: 1,
    maxThreads: 1,
    maxQueue: maxWaiting,
    stricterFIFO: true,
    niceIncrement: nice,
    env: {},
    // It has next to nothing in its heap. The less it may, the sooner V8 frees the memory of what was unpacked.
    resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 },
  });
  // Of a thread that ended without work: another takes its place. What one works at fails with it.
  threads.on("error", () => {});
  return threads;
}

function tooLarge(readMaxBytes: number): ConnectError {
  const message = `message is larger than configured readMaxBytes ${readMaxBytes} after decompression`;
  return new ConnectError(message, Code.ResourceExhausted);
}

/** Bytes that end too early are the caller's mistake, as all others that are not what they are said to be. */
function broken(cause?: unknown): ConnectError {
  return new ConnectError("decompression failed", Code.InvalidArgument, undefined, undefined, cause);
}

/**
 * @param header that tells the caller which there are
 * @returns undefined when the message is not packed
 * @throws ConnectError `unimplemented`, as the protocols demand, for one that there is not
 */
export function compressionOf(name: string | undefined, header: string): Compression | undefined {
  if (name === undefined || name === "identity") return undefined;
  const found = compressions.find((one) => one.name === name);
  if (found !== undefined) return found;
  const known = compressions.map((one) => one.name).join(",");
  throw new ConnectError(`unknown compression "${name}": supported encodings are ${known}`, Code.Unimplemented, {
    [header]: known,
  });
}
