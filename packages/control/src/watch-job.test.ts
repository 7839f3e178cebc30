import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { EventBatchSchema, EventKind, JobState, type WatchJobResponse } from "@millrace/protocol";
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

test("all jobs that match, by queue, kind and correlation id", async () => {
  await fixture.jobs.submitJob({ id: "c1", type: "t", correlationId: "co" });
  await projected(fixture);
  const stop = new AbortController();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { event } of fixture.jobs.watchJobs(
      { correlationId: "co", kinds: ["submitted", "succeeded"], queue: "default" },
      { signal: stop.signal },
    )) {
      seen.push(`${event?.jobId} ${event?.kind}`);
      if (event?.jobId === "c2" && event.kind === "succeeded") return;
    }
  })();
  // The watch is on when its own first event comes; until then, events are only told, not awaited.
  const ready = fixture.jobs.watchJobs({ kinds: ["submitted"] }, { signal: stop.signal })[Symbol.asyncIterator]();
  const first = ready.next();
  for (let i = 0; ; i++) {
    await fixture.jobs.submitJob({ id: `probe${i}`, type: "t" });
    if (await Promise.race([first.then(() => true), new Promise<false>((r) => setImmediate(() => r(false)))])) break;
  }
  await fixture.jobs.submitJob({ id: "c2", type: "t", correlationId: "co" });
  await say(["c1", EventKind.SUCCEEDED], ["probe0", EventKind.SUCCEEDED], ["c2", EventKind.SUCCEEDED]);
  await watching;
  stop.abort();
  await ready.return?.();
  expect(seen).toEqual(["c2 submitted", "c1 succeeded", "c2 succeeded"]);
});

test("a watcher that does not keep up is cut, and told where to resume", async () => {
  const iterator = fixture.jobs.watchJobs({ kinds: ["started"] })[Symbol.asyncIterator]();
  const first = iterator.next();
  const flood = Array.from({ length: 50 }, (_, i): [string, EventKind] => [`f${i}`, EventKind.STARTED]);
  for (let told = false; !told;) {
    await say(...flood.slice(0, 1));
    told = await Promise.race([first.then(() => true), new Promise<false>((r) => setImmediate(() => r(false)))]);
  }
  for (let i = 0; i < 10; i++) await say(...flood);
  await projected(fixture);
  const error: unknown = await (async () => {
    for (;;) if ((await iterator.next()).done) return undefined;
  })().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ConnectError);
  expect((error as ConnectError).code).toBe(Code.ResourceExhausted);
  expect((error as ConnectError).rawMessage).toMatch(/resume after \d+\.\d+/);
  expect((await fixture.jobs.getJob({ id: "w1" })).job?.state).toBe(JobState.SUCCEEDED);
});
