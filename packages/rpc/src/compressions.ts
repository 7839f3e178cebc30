import { promisify } from "node:util";
import { brotliDecompress, gunzip, type ZlibOptions } from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

type Compression = typeof compressionGzip;

/** Messages that wait to be unpacked. Each may be a bomb, which takes some 20 ms to reach the bound. */
const maxWaiting = 100;

let waiting = 0;
let last: Promise<unknown> = Promise.resolve();

/**
 * One after the other: unpacking takes a thread of its own, and all of them at once would take the processors from the calls
 * that are small.
 */
function inTurn<T>(unpack: () => Promise<T>): Promise<T> {
  if (waiting >= maxWaiting) {
    throw new ConnectError("too many packed messages at once", Code.Unavailable, { "retry-after": "1" });
  }
  waiting += 1;
  const turn = last.then(unpack).finally(() => (waiting -= 1));
  last = turn.catch(() => {});
  return turn;
}

/**
 * What unpacks asks for memory in such pieces, and each takes a turn of the event loop: with Node's 16 KiB a bomb took 5 ms of
 * it, and takes 1. More than the least would cost the messages that fit into it.
 */
const leastPiece = 64 * 1024;
const mostPiece = 256 * 1024;

type Unpack = (bytes: Uint8Array, options: ZlibOptions) => Promise<Buffer<ArrayBuffer>>;

/** What callers may pack messages with. */
export const compressions: readonly Compression[] = [
  inPieces(compressionGzip, promisify(gunzip) as Unpack),
  inPieces(compressionBrotli, promisify(brotliDecompress) as Unpack),
];

function inPieces(compression: Compression, unpack: Unpack): Compression {
  return {
    ...compression,
    async decompress(bytes, readMaxBytes) {
      if (bytes.byteLength === 0) return new Uint8Array(0);
      const chunkSize = Math.min(mostPiece, Math.max(leastPiece, 4 * bytes.byteLength));
      try {
        return await inTurn(() => unpack(bytes, { maxOutputLength: readMaxBytes, chunkSize }));
      } catch (error) {
        throw unpackError(error, readMaxBytes);
      }
    },
  };
}

function unpackError(cause: unknown, readMaxBytes: number): ConnectError {
  if (cause instanceof ConnectError) return cause;
  if (cause instanceof Error && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE") {
    const message = `message is larger than configured readMaxBytes ${readMaxBytes} after decompression`;
    return new ConnectError(message, Code.ResourceExhausted, undefined, undefined, cause);
  }
  // Bytes that end too early are the caller's mistake, as all others that are not what they are said to be.
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
