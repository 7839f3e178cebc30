import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { EventKind, JobEventSchema } from "@millrace/protocol";
import { jobVersion, openStore, type JobPatch, type Store } from "@millrace/store";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Coalescer } from "./coalescer.ts";
import { patchFromEvent } from "./patch-from-event.ts";

let store: Store;
let seq = 0;
let runs = 0;

beforeAll(async () => {
  store = await openStore({ dataDir: "memory://" });
  await store.migrate();
}, 60_000);
afterAll(() => store[Symbol.asyncDispose]());

async function write(patches: readonly JobPatch[]): Promise<void> {
  const from = seq === 0 ? undefined : { seq, streamCreatedMs: 1 };
  await store.applyEvents(patches, { name: "order", from, to: { seq: ++seq, streamCreatedMs: 1 } });
}

interface Life {
  readonly scheduled: boolean;
  readonly parked: boolean;
  readonly retries: number;
  readonly ending: EventKind;
  readonly cancelRequested: boolean;
}

const lives: fc.Arbitrary<Life> = fc.record({
  scheduled: fc.boolean(),
  parked: fc.boolean(),
  retries: fc.nat(3),
  ending: fc.constantFrom(EventKind.SUCCEEDED, EventKind.DEAD, EventKind.CANCELLED, EventKind.EXPIRED),
  cancelRequested: fc.boolean(),
});

/** Every patch of a job's life, in the order in which things happen. */
function patchesOf(id: string, life: Life): (() => JobPatch)[] {
  let at = 1_700_000_000_000;
  let place = 0;
  const out: (() => JobPatch)[] = [];
  const event = (fields: MessageInitShape<typeof JobEventSchema>): void => {
    const message = create(JobEventSchema, { jobId: id, queue: "q", type: "t", priority: 3, atMs: ++at, ...fields });
    const eventSeq = out.length + 1;
    out.push(() => patchFromEvent(message, "w1", { seq: eventSeq, index: 0 }));
  };
  const copy = (kind: EventKind, attempt: number): void => {
    const message = create(JobEventSchema, {
      jobId: id,
      queue: "q",
      type: "t",
      priority: 3,
      atMs: ++at,
      kind,
      attempt,
    });
    const seqInStream = ++place;
    const eventSeq = out.length + 1;
    out.push(() => {
      const patch = patchFromEvent(message, "w1", { seq: eventSeq, index: 0 });
      const submission = {
        payload: Buffer.from('{"n":1}'),
        contentType: "",
        headers: { a: "b" },
        tags: ["x"],
        correlationId: "c",
        uniqueKey: "",
      };
      const version = jobVersion(attempt, patch.state);
      return { ...patch, submission, place: { stream: "S", seq: seqInStream, version }, maxAttempts: 5 };
    });
  };
  if (life.scheduled) copy(EventKind.SCHEDULED, 1);
  for (let attempt = 1; attempt <= life.retries + 1; attempt++) {
    copy(EventKind.SUBMITTED, attempt);
    if (life.parked) event({ kind: EventKind.PARKED, attempt, reason: "no handler" });
    const startedAtMs = at + 1;
    event({ kind: EventKind.STARTED, attempt, startedAtMs });
    if (life.cancelRequested && attempt === 1) event({ kind: EventKind.CANCEL_REQUESTED, attempt });
    const ran = { plugin: "p@1.0.0", fuel: attempt * 100 };
    const breach = { breachResource: "fuel", breachFigure: 11, breachLimit: 10, breachUnit: "units" };
    const error = { errorCode: "OUT_OF_FUEL", errorMessage: `${attempt}`, errorRetryable: true, ...ran, ...breach };
    if (attempt <= life.retries)
      event({ kind: EventKind.RETRIED, attempt, startedAtMs, nextRunAtMs: at + 5, ...error });
    else if (life.ending === EventKind.SUCCEEDED) {
      event({ kind: life.ending, attempt, startedAtMs, runUs: 5, result: new Uint8Array([1]), ...ran });
    } else event({ kind: life.ending, attempt, startedAtMs, ...error });
  }
  return out;
}

test(
  "any order and any repetition of events, in any batches, gives the row that the order of events gives",
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        lives,
        fc.array(fc.nat(1_000_000), { minLength: 24, maxLength: 24 }),
        fc.array(fc.nat(30), { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 }),
        async (life, keys, repeats, sizes) => {
          const run = runs++;
          const straight = patchesOf(`a${run}`, life);
          for (const patch of straight) await write([patch()]);

          const other = patchesOf(`b${run}`, life);
          const again = repeats.flatMap((index) => other[index % other.length] ?? []);
          const shuffled = [...other, ...again]
            .map((patch, index) => ({ patch, key: (keys[index % keys.length] ?? 0) * 31 + index }))
            .sort((a, b) => (a.key % 997) - (b.key % 997))
            .map(({ patch }) => patch);
          let coalesced = new Coalescer();
          for (let at = 0, turn = 0; at < shuffled.length; turn++) {
            const size = sizes[turn % sizes.length] ?? 1;
            for (const patch of shuffled.slice(at, at + size)) coalesced.add(patch());
            const { patches, next } =
              turn % 3 === 0 ? { patches: coalesced.patches(), next: new Coalescer() } : coalesced.holdBack();
            await write(patches);
            coalesced = next;
            at += size;
          }
          await write(coalesced.patches());
          const rows = await Promise.all([store.getJob(`a${run}`), store.getJob(`b${run}`)]);
          const [left, right] = rows.map((row) => row && { ...row, job: { ...row.job, id: "" } });
          expect(right).toEqual(left);
        },
      ),
      { numRuns: 40 },
    );
    const stats = await store.getQueueStats("q");
    const counted = [stats?.succeeded, stats?.dead, stats?.cancelled, stats?.expired].reduce(
      (sum = 0n, n) => sum + (n ?? 0n),
      0n,
    );
    expect(counted).toBe(BigInt(runs * 2));
    expect([stats?.queued, stats?.running, stats?.scheduled, stats?.retrying]).toEqual([0n, 0n, 0n, 0n]);
  },
);
