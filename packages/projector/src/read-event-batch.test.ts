import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EventBatchSchema, EventKind, JobEventSchema } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import { readEventBatch } from "./read-event-batch.ts";

const text = fc.string({ unit: "binary", maxLength: 20 });
const bytes = fc.uint8Array({ maxLength: 40 });
const time = fc.double({ noNaN: true });
const uint32 = fc.nat(0xffff_ffff);
const events = fc.record({
  jobId: text,
  kind: fc.constantFrom(EventKind.UNSPECIFIED, EventKind.STARTED, EventKind.SUCCEEDED, EventKind.CANCEL_REQUESTED),
  attempt: uint32,
  queue: text,
  type: text,
  priority: uint32,
  atMs: time,
  startedAtMs: time,
  submittedAtMs: time,
  runUs: time,
  result: bytes,
  resultContentType: text,
  errorCode: text,
  errorMessage: text,
  errorRetryable: fc.boolean(),
  nextRunAtMs: time,
  reason: text,
  maxAttempts: uint32,
  traceparent: text,
  payload: bytes,
  rawHeaders: text,
});
const batches = fc
  .record({ source: text, events: fc.array(events, { maxLength: 5 }) })
  .map((batch) => toBinary(EventBatchSchema, create(EventBatchSchema, batch)));

function attempt<T>(read: () => T): T | "refused" {
  try {
    return read();
  } catch {
    return "refused";
  }
}

/** As the generated decoder reads it, in the shape of ours. */
function generated(message: Uint8Array) {
  const { source, events } = fromBinary(EventBatchSchema, message);
  const names = JobEventSchema.fields.map((field) => field.localName as keyof (typeof events)[number]);
  return { source, events: events.map((event) => Object.fromEntries(names.map((name) => [name, event[name]]))) };
}

test("reads what the generated decoder reads", () => {
  fc.assert(
    fc.property(batches, (message) => {
      expect(readEventBatch(message)).toEqual(generated(message));
    }),
  );
});

test("refuses what is cut short, as the generated decoder does", () => {
  fc.assert(
    fc.property(batches, fc.nat(400), (message, length) => {
      const cut = message.subarray(0, length);
      expect(attempt(() => readEventBatch(cut))).toEqual(attempt(() => generated(cut)));
    }),
  );
});

test("passes over fields of a later version", () => {
  // Field 100 as a varint, then the source.
  expect(readEventBatch(Uint8Array.of(0xa0, 0x06, 7, 0x0a, 1, 0x77))).toEqual({ source: "w", events: [] });
});
