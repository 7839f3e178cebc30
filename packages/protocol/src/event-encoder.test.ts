import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EventBatchSchema, EventKind, JobEventSchema, maxMove, maxRun, type JobEvent } from "./index.ts";
import fc from "fast-check";
import { expect, test } from "vitest";
import { EventEncoder, type EventFields } from "./event-encoder.ts";

const text = fc.string({ unit: "grapheme", maxLength: 200 });
const double = fc.double({ noNaN: true });
const event = fc.record<EventFields>({
  jobId: fc.string({ minLength: 1, maxLength: 64 }),
  kind: fc.constantFrom(EventKind.STARTED, EventKind.SUCCEEDED, EventKind.DEAD),
  attempt: fc.nat(2 ** 31 - 1),
  queue: text,
  type: text,
  priority: fc.integer({ min: 0, max: 4 }),
  atMs: double,
  startedAtMs: double,
  submittedAtMs: double,
  runUs: double,
  result: fc.uint8Array({ maxLength: 40_000 }),
  resultContentType: text,
  errorCode: text,
  errorMessage: text,
  errorRetryable: fc.boolean(),
  nextRunAtMs: double,
  reason: text,
  maxAttempts: fc.nat(1000),
  traceparent: text,
  payload: fc.uint8Array(),
  rawHeaders: text,
  breachResource: text,
  breachFigure: double,
  breachLimit: double,
  breachUnit: text,
  fuel: double,
  plugin: text,
  run: fc.integer({ min: 1, max: maxRun }),
  move: fc.nat(maxMove),
  owner: text,
  correlationId: text,
});

test("writes what the generated encoder would", () => {
  fc.assert(
    fc.property(fc.array(fc.array(event, { maxLength: 5 }), { maxLength: 3 }), (batches) => {
      const encoder = new EventEncoder("worker-1");
      for (const events of batches) {
        for (const fields of events) encoder.add(fields);
        expect(encoder.count).toBe(events.length);
        const expected = create(EventBatchSchema, {
          source: "worker-1",
          events: events.map((fields): JobEvent => create(JobEventSchema, fields)),
        });
        const read = fromBinary(EventBatchSchema, encoder.take());
        expect(toBinary(EventBatchSchema, read)).toEqual(toBinary(EventBatchSchema, expected));
      }
    }),
    { numRuns: 60 },
  );
});
