import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { EventKind, eventsStream, JobEventSchema } from "@millrace/protocol";
import { openStore, type JobPatch, type LogCursors, type Store } from "@millrace/store";
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
  const at = (place: number): LogCursors =>
    new Map(place === 0 ? [] : [[eventsStream, { seq: place, streamCreatedMs: 1, atMs: 0 }]]);
  await store.applyEvents(patches, { name: "order", from: at(seq), to: at(++seq) });
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

interface Patches {
  /** Every patch of a job's life, in the order in which things happen. */
  readonly all: readonly (() => JobPatch)[];
  /** Which of them come by the logs of jobs; the others by EVENTS, whose order is kept. */
  readonly fromLogs: ReadonlySet<number>;
}

function patchesOf(id: string, life: Life): Patches {
  let at = 1_700_000_000_000;
  let place = 0;
  const out: (() => JobPatch)[] = [];
  const fromLogs = new Set<number>();
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
      const { version } = patch;
      return { ...patch, eventSeq: 0, submission, place: { stream: "S", seq: seqInStream, version }, maxAttempts: 5 };
    });
    fromLogs.add(out.length - 1);
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
  return { all: out, fromLogs };
}

test(
  "however the logs are read beside each other and again, in any batches, the row is what happened",
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
          for (const patch of straight.all) await write([patch()]);

          const { all, fromLogs } = patchesOf(`b${run}`, life);
          const read = all
            .map((patch, index) => ({
              patch,
              key: fromLogs.has(index) ? (keys[index % keys.length] ?? 0) % all.length : index,
            }))
            .sort((a, b) => a.key - b.key)
            .map(({ patch }) => patch);
          // After a crash reading goes on from somewhere before.
          const shuffled = repeats.reduce((so, back) => [...so, ...read.slice(back % read.length)], read);
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
