import type { StreamState } from "@millrace/bus";

/** A plugin that is further behind holds back what EVENTS may forget no longer. */
export const longestLagMs = 24 * 3_600_000;
/** Of the bytes that EVENTS may have. */
const largestLag = 1 / 4;

/**
 * The first message of EVENTS that a plugin is still offered when its last was `seq`: the next one, or as many bytes behind the
 * newest as it may be. By the average size of a message.
 */
export function firstOffered(seq: number, state: StreamState): number {
  const { messages, bytes, maxBytes, lastSeq } = state;
  if (maxBytes <= 0 || messages === 0 || bytes === 0) return seq + 1;
  const most = Math.floor((maxBytes * largestLag) / (bytes / messages));
  return Math.max(seq + 1, lastSeq - most + 1);
}
