import { eventsStream } from "@millrace/protocol";
import type { LogCursors } from "../sql/advance-cursor.ts";

/** Cursors of a projection that has read EVENTS up to a message, and no other log; 0: nothing yet. */
export function eventsAt(seq: number, streamCreatedMs = 1_699_999_999_000): LogCursors {
  return new Map(seq === 0 ? [] : [[eventsStream, { seq, streamCreatedMs, atMs: 0 }]]);
}
