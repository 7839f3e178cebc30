import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, type CallOptions } from "@connectrpc/connect";
import {
  callerHeader,
  encodeCaller,
  EventBatchSchema,
  EventKind,
  JobState,
  type WatchJobResponse,
} from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { collect, projected, startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture({ watcherBacklog: 100, tailMessages: 16 });
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

async function say(...events: [jobId: string, kind: EventKind, more?: object][]): Promise<void> {
  const batch = create(EventBatchSchema, {
    source: "w",
    events: events.map(([jobId, kind, more]) => ({
      jobId,
      kind,
      run: 1,
      attempt: 1,
      queue: "default",
      type: "t",
      priority: 3,
      atMs: Date.now(),
      ...more,
    })),
  });
  await fixture.bus.publishDurable("events.batch.w", toBinary(EventBatchSchema, batch));
}

const kindOf = ({ update }: WatchJobResponse): string => (update.case === "event" ? update.value.kind : "row");

test("the row first, then each event, and the end with the job's", async () => {
  await fixture.jobs.submitJob({ id: "w1", type: "t" });
  const seen: string[] = [];
  for await (const update of fixture.jobs.watchJob({ id: "w1" })) {
    seen.push(kindOf(update));
    if (seen.length === 1) {
      // Twice: a crash runs an attempt again.
      await say(["other", EventKind.STARTED], ["w1", EventKind.STARTED], ["w1", EventKind.STARTED]);
      await say(["w1", EventKind.RETRIED], ["w1", EventKind.STARTED, { attempt: 2 }]);
      await say(["w1", EventKind.SUCCEEDED, { attempt: 2 }], ["w1", EventKind.SUCCEEDED, { attempt: 2 }]);
    }
  }
  expect(seen).toEqual(["row", "started", "retried", "started", "succeeded"]);
});

test("what happens to another queue's job of the same id is not told", async () => {
  await fixture.jobs.submitJob({ id: "w0", type: "t" });
  await projected(fixture);
  const seen: string[] = [];
  for await (const update of fixture.jobs.watchJob({ id: "w0" })) {
    seen.push(kindOf(update));
    if (seen.length > 1) continue;
    await say(["w0", EventKind.STARTED, { queue: "theirs" }], ["w0", EventKind.SUCCEEDED, { type: "other" }]);
    await say(["w0", EventKind.DEAD]);
  }
  expect(seen).toEqual(["row", "dead"]);
});

test("a watch of a job that has ended is its row", async () => {
  await fixture.jobs.submitJob({ id: "w2", type: "t" });
  await say(["w2", EventKind.SUCCEEDED]);
  await projected(fixture);
  const seen = await collect(fixture.jobs.watchJob({ id: "w2" }));
  expect(seen.map(kindOf)).toEqual(["row"]);
});

test("resumed after any position, it goes on there, from far behind the shared tail too", async () => {
  await fixture.jobs.submitJob({ id: "w3", type: "t" });
  await projected(fixture);
  const positions: string[] = [];
  for await (const update of fixture.jobs.watchJob({ id: "w3" })) {
    positions.push(update.position);
    if (positions.length === 1) await say(["w3", EventKind.STARTED], ["w3", EventKind.RETRIED]);
    if (positions.length === 3) break;
  }
  for (let i = 0; i < 60; i++) await say([`noise${i}`, EventKind.STARTED]);
  await say(["w3", EventKind.SUCCEEDED, { attempt: 2 }]);
  await projected(fixture);
  const expected = ["started", "retried", "succeeded"];
  for (const [index, resumeAfter] of positions.entries()) {
    const seen = await collect(fixture.jobs.watchJob({ id: "w3", resumeAfter }));
    expect(seen.map(kindOf)).toEqual(expected.slice(index));
  }
  const last = await collect(fixture.jobs.watchJob({ id: "w3", resumeAfter: positions.at(-1) ?? "" }));
  const again = await collect(fixture.jobs.watchJob({ id: "w3", resumeAfter: last.at(-1)?.position ?? "" }));
  expect(again).toEqual([]);
});

test("a job that nobody knows, and a position that is none, are refused", async () => {
  const refused = async (call: AsyncIterable<unknown>): Promise<Code | undefined> => {
    const error: unknown = await collect(call).catch((reason: unknown) => reason);
    return error instanceof ConnectError ? error.code : undefined;
  };
  expect(await refused(fixture.jobs.watchJob({ id: "nobody" }))).toBe(Code.NotFound);
  expect(await refused(fixture.jobs.watchJob({ id: "w1", resumeAfter: "x" }))).toBe(Code.InvalidArgument);
  expect(await refused(fixture.jobs.watchJobs({ resumeAfter: "99999999.0" }))).toBe(Code.FailedPrecondition);
  expect(await refused(fixture.jobs.watchJobs({ kinds: ["exploded"] }))).toBe(Code.InvalidArgument);
});

test("all jobs that match, by queue, kind, owner and correlation id, which every event tells; and each once", async () => {
  const { jobs } = fixture;
  const stop = new AbortController();
  const seen: string[] = [];
  const { position } = await firstOf(
    jobs.watchJobs({ kinds: ["submitted"] }, { signal: stop.signal }),
    async (index) => {
      await jobs.submitJob({ id: `probe${index}`, type: "t" });
    },
  );
  const watching = (async () => {
    const filter = { correlationId: "co", kinds: ["submitted", "started", "succeeded", "dead"], queue: "default" };
    for await (const { event } of jobs.watchJobs({ ...filter, resumeAfter: position })) {
      seen.push(`${event?.jobId} ${event?.kind} ${event?.run} ${event?.correlationId} ${event?.owner}`);
      if (event?.jobId === "c3") return;
    }
  })();
  await jobs.submitJob({ id: "c1", type: "t", correlationId: "co" }, as("ada"));
  await jobs.submitJob({ id: "hers", type: "t" }, as("ada"));
  await projected(fixture);
  const more = { correlationId: "co", owner: "ada" };
  // Told twice, as by a worker that died, and with a second end.
  await say(["c1", EventKind.STARTED, more], ["probe0", EventKind.STARTED], ["c1", EventKind.STARTED, more]);
  await say(["c1", EventKind.SUCCEEDED, more], ["c1", EventKind.DEAD, more], ["c1", EventKind.SUCCEEDED, more]);
  await say(["c1", EventKind.SUCCEEDED, { ...more, run: 2 }], ["c3", EventKind.SUCCEEDED, { correlationId: "co" }]);
  await watching;
  expect(seen.filter((line) => !line.startsWith("c1 submitted"))).toEqual([
    "c1 started 1 co ada",
    "c1 succeeded 1 co ada",
    "c1 succeeded 2 co ada",
    "c3 succeeded 1 co ",
  ]);
  expect(seen.filter((line) => line.startsWith("c1 submitted"))).toEqual(["c1 submitted 1 co ada"]);
  const owned: string[] = [];
  for await (const { event } of jobs.watchJobs({ owner: "ada", resumeAfter: position })) {
    owned.push(`${event?.jobId} ${event?.kind}`);
    if (owned.length === 4) break;
  }
  expect(owned.toSorted()).toEqual(["c1 started", "c1 submitted", "c1 succeeded", "hers submitted"]);
  stop.abort();
});

test("a watcher that does not keep up is cut, and told where to resume", async () => {
  const iterator = fixture.jobs.watchJobs({ kinds: ["started"] })[Symbol.asyncIterator]();
  const first = iterator.next();
  for (let told = false, i = 0; !told; i++) {
    await say([`early${i}`, EventKind.STARTED]);
    told = await Promise.race([first.then(() => true), new Promise<false>((r) => setImmediate(() => r(false)))]);
  }
  for (let i = 0; i < 10; i++) {
    await say(...Array.from({ length: 50 }, (_, n): [string, EventKind] => [`f${i}-${n}`, EventKind.STARTED]));
  }
  await projected(fixture);
  const error: unknown = await (async () => {
    for (;;) if ((await iterator.next()).done) return undefined;
  })().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ConnectError);
  expect((error as ConnectError).code).toBe(Code.ResourceExhausted);
  expect((error as ConnectError).rawMessage).toMatch(/resume after \d+\.\d+/);
  expect((await fixture.jobs.getJob({ id: "w1" })).job?.state).toBe(JobState.SUCCEEDED);
});

/** The first message of a stream that begins at the present: `stir` makes something happen until it is there. */
async function firstOf<T>(stream: AsyncIterable<T>, stir: (index: number) => Promise<void>): Promise<T> {
  const iterator = stream[Symbol.asyncIterator]();
  const first = iterator.next();
  for (let index = 0; ; index++) {
    await stir(index);
    const told = await Promise.race([first, new Promise<undefined>((r) => setImmediate(() => r(undefined)))]);
    if (told === undefined) continue;
    if (told.done === true) throw new Error("the stream has ended");
    return told.value;
  }
}

/** As a gateway calls for this user. */
function as(subject: string): CallOptions {
  const none = { email: "", permissions: [], queues: [], types: [], tokenId: "", sessionId: "", address: "" };
  return { headers: { [callerHeader]: encodeCaller({ ...none, subject, requestId: "r", door: "rest" }) } };
}
