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

/** What callers may pack messages with. */
export const compressions: readonly Compression[] = [compressionGzip, compressionBrotli].map((one) => ({
  ...one,
  async decompress(bytes, readMaxBytes) {
    try {
      return await inTurn(() => one.decompress(bytes, readMaxBytes));
    } catch (reason) {
      const error = ConnectError.from(reason);
      // Bytes that end too early are the caller's mistake, as all others that are not what they are said to be.
      throw error.code === Code.Internal
        ? new ConnectError(error.rawMessage, Code.InvalidArgument, undefined, undefined, reason)
        : error;
    }
  },
}));

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
