import { newJobId } from "@millrace/protocol";

const timeLength = 10;
const ownLength = 10;
/** Two digits each of a counter of six. */
const pairs = Array.from({ length: 32 ** 2 }, (_, pair) => pair.toString(32).toUpperCase().padStart(2, "0"));
const mostPair = pairs.length - 1;

/**
 * Ids in newJobId's layout for a fraction of its cost: the time, then 50 random bits of this source, then a counter.
 * They sort by time, and within one source by their making.
 */
export function createJobIdSource(now: () => number = Date.now): () => string {
  const own = newJobId().slice(timeLength, timeLength + ownLength);
  let atMs = -1;
  let prefix = "";
  let counter = 0;
  return () => {
    const nowMs = now();
    if (nowMs !== atMs) {
      atMs = nowMs;
      prefix = newJobId(nowMs).slice(0, timeLength) + own;
    }
    counter = (counter + 1) % 32 ** 6;
    return `${prefix}${pairs[counter >>> 20]}${pairs[(counter >>> 10) & mostPair]}${pairs[counter & mostPair]}`;
  };
}
