import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { BusMessage, Delivery } from "@millrace/bus";
import {
  commandSubject,
  decodeCancelMark,
  decodeJson,
  EventBatchSchema,
  EventKind,
  headerNames,
  JobResultSchema,
  JobService,
  JobState,
  Priority,
} from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDirectTransport } from "@millrace/rpc";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { openStore } from "@millrace/store";
import { controlPipeline } from "./control-pipeline.ts";
import { startControl } from "./start-control.ts";
import { collect, projected, startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error("was not refused", { cause: error });
  return error;
}

/** What a worker says, by hand. */
async function say(jobId: string, kind: EventKind, more: object = {}): Promise<void> {
  const event = {
    jobId,
    kind,
    run: 1,
    attempt: 1,
    queue: "default",
    type: "t",
    priority: 3,
    atMs: Date.now(),
    ...more,
  };
  const batch = create(EventBatchSchema, { source: "worker-x", events: [event] });
  await fixture.bus.publishDurable("events.batch.worker-x", toBinary(EventBatchSchema, batch));
}

function nextMessage(subject: string): { readonly message: Promise<BusMessage> } & Disposable {
  const { promise, resolve } = Promise.withResolvers<BusMessage>();
  const subscription = fixture.bus.subscribe(subject, {}, resolve);
  return { message: promise, [Symbol.dispose]: () => subscription[Symbol.dispose]() };
}

describe("SubmitJob", () => {
  test("publishes the payload as it is, with the options as headers", async () => {
    using heard = nextMessage("jobs.high.mail.send");
    const { id, duplicate } = await fixture.jobs.submitJob({
      queue: "mail",
      type: "send",
      priority: Priority.HIGH,
      payload: { content: { case: "json", value: { kind: { case: "stringValue", value: "x" } } } },
      maxAttempts: 7,
      tags: ["a", "b"],
      correlationId: "c1",
    });
    const message = await heard.message;
    expect(duplicate).toBe(false);
    expect(message.header(headerNames.id)).toBe(id);
    expect(new TextDecoder().decode(message.data)).toBe('"x"');
    expect(message.header(headerNames.maxAttempts)).toBe("7");
    expect(message.header(headerNames.tags)).toBe("a,b");
    expect(message.header(headerNames.messageId)).toBe(id);
  });

  test("has a chosen id, and that of a job with a unique key, in the subject", async () => {
    for (const chosen of [{ id: "chosen" }, { uniqueKey: "chosen key" }]) {
      using heard = nextMessage("jobs.normal.named.t.>");
      const { id } = await fixture.jobs.submitJob({ ...chosen, queue: "named", type: "t" });
      const message = await heard.message;
      expect(message.subject).toBe(`jobs.normal.named.t.${id}`);
      expect(message.header(headerNames.id)).toBeUndefined();
      expect(message.header(headerNames.messageId)).toBe(id);
    }
  });

  test("is readable at once, and accepts an id once", async () => {
    const first = await fixture.jobs.submitJob({ id: "once", type: "t" });
    const { job } = await fixture.jobs.getJob({ id: "once" });
    expect(job).toMatchObject({ id: "once", state: JobState.QUEUED, attempt: 1, maxAttempts: 5 });
    const second = await fixture.jobs.submitJob({ id: "once", type: "t" });
    expect([first.duplicate, second.duplicate]).toEqual([false, true]);
    await projected(fixture);
    expect((await fixture.jobs.getJob({ id: "once" })).job?.position).not.toBe("");
  });

  test("schedules a job that may not run yet", async () => {
    using heard = nextMessage("schedule.>");
    await fixture.jobs.submitJob({ id: "later", type: "t", runAt: timestampFromMs(Date.now() + 60_000) });
    expect((await heard.message).subject).toBe("schedule.normal.default.t.later");
    expect((await fixture.jobs.getJob({ id: "later" })).job?.state).toBe(JobState.SCHEDULED);
  });

  test("waits for the worker's answer", async () => {
    using heard = nextMessage("jobs.normal.default.ask");
    const submitted = fixture.jobs.submitJob({ type: "ask", waitMs: 10_000 });
    const message = await heard.message;
    const reply = message.header(headerNames.replyTo) ?? "";
    const result = create(JobResultSchema, { id: "x", state: JobState.SUCCEEDED, attempt: 1 });
    fixture.bus.publish(reply, toBinary(JobResultSchema, result));
    expect((await submitted).result).toMatchObject({ state: JobState.SUCCEEDED });
  });

  test("answers without a result when the wait is over", async () => {
    const answer = await fixture.jobs.submitJob({ type: "ask", waitMs: 20 });
    expect(answer.id).not.toBe("");
    expect(answer.result).toBeUndefined();
  });

  test("a second waiter of one id sees the end by its events", async () => {
    await fixture.jobs.submitJob({ id: "twice", type: "t" });
    const second = fixture.jobs.submitJob({ id: "twice", type: "t", waitMs: 10_000 });
    await say("twice", EventKind.SUCCEEDED);
    await projected(fixture);
    const { duplicate, result } = await second;
    expect(duplicate).toBe(true);
    expect(result?.state ?? JobState.SUCCEEDED).toBe(JobState.SUCCEEDED);
  });

  test("refuses what a header cannot hold, a past deadline and a payload over the limit", async () => {
    expect((await refusal(fixture.jobs.submitJob({ type: "t", uniqueKey: "ü" }))).code).toBe(Code.InvalidArgument);
    const late = { type: "t", deadline: timestampFromMs(Date.now() - 1000) };
    expect((await refusal(fixture.jobs.submitJob(late))).code).toBe(Code.FailedPrecondition);
    const large = { type: "t", payload: { content: { case: "raw" as const, value: new Uint8Array(3 << 20) } } };
    expect((await refusal(fixture.jobs.submitJob(large))).code).toBe(Code.OutOfRange);
  });

  test("leaves what Millrace says to plugins to Millrace", async () => {
    const forged = { type: "auditor", tags: ["export:on_audit"] };
    for (const queue of ["plugin-events", "plugin-tasks"]) {
      expect(await refusal(fixture.jobs.submitJob({ ...forged, queue }))).toMatchObject({
        code: Code.FailedPrecondition,
        rawMessage: `queue: ${queue} is Millrace's own`,
      });
    }
    // Whoever foresees the id of a plugin's job could keep it from its stream, or seem to have ended it.
    const { outcomes } = await fixture.jobs.submitJobs({ jobs: [{ type: "t", id: "_audit-7-0123456789ab" }] });
    expect(outcomes).toMatchObject([{ errorCode: "failed_precondition" }]);
  });
});

describe("unique keys", () => {
  test("one unfinished job has a key; when it has ended the next one gets it", async () => {
    await fixture.jobs.submitJob({ id: "u1", type: "t", uniqueKey: "order 17/a" });
    await projected(fixture);
    const error = await refusal(fixture.jobs.submitJob({ id: "u2", type: "t", uniqueKey: "order 17/a" }));
    expect(error.code).toBe(Code.AlreadyExists);
    expect(error.rawMessage).toContain("u1");
    await say("u1", EventKind.SUCCEEDED);
    await projected(fixture);
    expect((await fixture.jobs.submitJob({ id: "u2", type: "t", uniqueKey: "order 17/a" })).id).toBe("u2");
  });

  test("of many submitters at once, one gets it", async () => {
    const { outcomes } = await fixture.jobs.submitJobs({
      jobs: Array.from({ length: 20 }, (_, i) => ({ id: `race${i}`, type: "t", uniqueKey: "race" })),
    });
    expect(outcomes.filter((outcome) => outcome.errorCode === "")).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome.errorCode === "already_exists")).toHaveLength(19);
  });
});

describe("bulk and stream", () => {
  test("each job of a bulk has its own outcome", async () => {
    const { outcomes } = await fixture.jobs.submitJobs({
      jobs: [
        { id: "b1", type: "t" },
        { id: "b2", type: "t", uniqueKey: "\u0007" },
        { id: "b3", type: "t" },
      ],
    });
    expect(outcomes.map(({ id, errorCode }) => [id, errorCode])).toEqual([
      ["b1", ""],
      ["b2", "invalid_argument"],
      ["b3", ""],
    ]);
  });

  test("a stream of jobs is answered with totals", async () => {
    async function* requests() {
      for (let i = 0; i < 2000; i++) yield { type: "t", queue: "streamed", uniqueKey: i === 7 ? "\n" : "" };
    }
    const answer = await fixture.jobs.streamJobs(requests());
    expect(answer).toMatchObject({ accepted: 1999n, refused: 1n });
    expect(answer.refusals).toMatchObject([{ index: 7n, code: "invalid_argument" }]);
    await projected(fixture);
    const { stats } = await fixture.jobs.getQueueStats({ queue: "streamed" });
    expect(stats?.queued).toBe(1999n);
  }, 30_000);
});

/** A worker that says of itself what a real one does, and has these jobs in hand. */
async function standIn(worker: string, holds: readonly string[]): Promise<AsyncDisposable> {
  const { bus } = fixture;
  const record = { queues: ["default"], formats: [], startedMs: Date.now() };
  const subscription = bus.subscribe(commandSubject(worker), {}, ({ data, reply }) => {
    const { ids = [] } = decodeJson<{ ids: string[] }>(data);
    bus.publish(reply, Buffer.from(JSON.stringify({ holds: ids.filter((id) => holds.includes(id)) })));
  });
  await bus.kv("workers").put(worker, Buffer.from(JSON.stringify(record)));
  return {
    async [Symbol.asyncDispose]() {
      subscription[Symbol.dispose]();
      await bus.kv("workers").delete(worker);
    },
  };
}

describe("CancelJob", () => {
  test("cancels one that nobody has, and leaves its message where it is, with a mark", async () => {
    for (const known of [false, true]) {
      const id = `cancel-${known}`;
      await fixture.jobs.submitJob({ id, type: "t", queue: "cancels" });
      if (known) await projected(fixture);
      using heard = nextMessage("cmd.cancel");
      expect((await fixture.jobs.cancelJob({ id, reason: "no need" })).state).toBe(JobState.CANCELLED);
      expect(decodeJson((await heard.message).data)).toEqual({ id, run: 1 });
      const { job } = await fixture.jobs.getJob({ id });
      expect(job).toMatchObject({ state: JobState.CANCELLED, error: { code: "CANCELLED", message: "no need" } });
      expect((await refusal(fixture.jobs.cancelJob({ id }))).code).toBe(Code.Aborted);
      expect(await fixture.bus.lastMessage("JOBS_NORMAL", `jobs.normal.cancels.t.${id}`)).toBeDefined();
      const mark = await fixture.bus.kv("cancel").get(id);
      expect(decodeCancelMark(id, mark?.value ?? new Uint8Array())).toMatchObject({ run: 1, reason: "no need" });
    }
  });

  test("asks the worker that has it, which ends it", async () => {
    await fixture.jobs.submitJob({ id: "runs", type: "t" });
    await say("runs", EventKind.STARTED);
    await using worker = await standIn("w-holds", ["runs"]);
    void worker;
    expect((await fixture.jobs.cancelJob({ id: "runs" })).state).toBe(JobState.RUNNING);
    await projected(fixture);
    expect((await fixture.jobs.getJob({ id: "runs" })).job).toMatchObject({
      state: JobState.RUNNING,
      cancelRequested: true,
    });
  });

  test("a worker that does not answer may have it; what nobody has any more is cancelled all the same", async () => {
    await fixture.jobs.submitJob({ id: "dropped", type: "t" });
    await fixture.bus.kv("workers").put("w-silent", Buffer.from("{}"));
    expect((await fixture.jobs.cancelJob({ id: "dropped", reason: "gone" })).state).toBe(JobState.RUNNING);
    // It gives the job back without a word, and ends.
    await fixture.bus.kv("workers").delete("w-silent");
    const seen = await collect(fixture.jobs.watchJob({ id: "dropped" }));
    const last = seen.at(-1)?.update;
    expect(last?.value).toMatchObject({ state: JobState.CANCELLED, error: { message: "gone" } });
  }, 20_000);

  test("says so when a worker had told of the end a moment before, and the first end stays", async () => {
    await fixture.jobs.submitJob({ id: "done", type: "t" });
    await projected(fixture);
    const ends: string[] = [];
    const begun = Promise.withResolvers<void>();
    const watching = (async () => {
      for await (const { update } of fixture.jobs.watchJob({ id: "done" })) {
        if (update.case === "event") ends.push(update.value.kind);
        else begun.resolve();
      }
    })();
    // It has the row as it was before the end.
    await begun.promise;
    await say("done", EventKind.SUCCEEDED);
    // As control knew it when it decided: the row, or what it remembers, was behind.
    const error = await refusal(fixture.jobs.cancelJob({ id: "done" }));
    expect([error.code, error.rawMessage]).toEqual([Code.Aborted, "job done has ended: succeeded"]);
    await projected(fixture);
    await watching;
    expect(ends).toEqual(["succeeded"]);
    expect((await fixture.jobs.getJob({ id: "done" })).job?.state).toBe(JobState.SUCCEEDED);
  });

  test("cancels a delayed job, and the retry of one, in whatever attempt", async () => {
    const runAt = timestampFromMs(Date.now() + 3_600_000);
    await fixture.jobs.submitJob({ id: "delayed1", type: "t", runAt });
    expect((await fixture.jobs.cancelJob({ id: "delayed1" })).state).toBe(JobState.CANCELLED);
    await fixture.jobs.submitJob({ id: "delayed2", type: "t" });
    await projected(fixture);
    // A worker publishes the next attempt, of which nothing is projected when the cancel comes.
    await say("delayed2", EventKind.RETRIED, { nextRunAtMs: Date.now() + 3_600_000 });
    await fixture.bus.publishDurable("schedule.normal.default.t.-", new Uint8Array(0), [
      [headerNames.id, "delayed2"],
      [headerNames.messageId, "delayed2:1:2:0"],
      [headerNames.attempt, "2"],
      [headerNames.runAt, String(Date.now() + 3_600_000)],
    ]);
    expect((await fixture.jobs.cancelJob({ id: "delayed2" })).state).toBe(JobState.CANCELLED);
    await projected(fixture);
    for (const id of ["delayed1", "delayed2"]) {
      expect((await fixture.jobs.getJob({ id })).job?.state).toBe(JobState.CANCELLED);
    }
  });

  test("knows a job that came over NATS and has no row yet, and refuses what no log and no row has", async () => {
    await fixture.bus.publishDurable("jobs.low.default.t.bare", new Uint8Array(0));
    expect((await fixture.jobs.cancelJob({ id: "bare" })).state).toBe(JobState.CANCELLED);
    expect((await refusal(fixture.jobs.cancelJob({ id: "nobody" }))).code).toBe(Code.NotFound);
    expect(await fixture.bus.kv("cancel").get("nobody")).toBeUndefined();
  });
});

describe("RetryJob", () => {
  test("runs a dead job again, as its next run, with its payload and headers", async () => {
    const payload = { content: { case: "text" as const, value: "hello" } };
    await fixture.jobs.submitJob({ id: "dead1", type: "t", queue: "r", payload, maxAttempts: 2, correlationId: "cc" });
    await projected(fixture);
    expect((await refusal(fixture.jobs.retryJob({ id: "dead1" }))).code).toBe(Code.Aborted);
    await say("dead1", EventKind.DEAD, {
      attempt: 2,
      queue: "r",
      maxAttempts: 2,
      errorCode: "HANDLER_FAILED",
      errorMessage: "x",
    });
    await projected(fixture);
    using heard = nextMessage("jobs.normal.r.t");
    const again = await fixture.jobs.retryJob({ id: "dead1" });
    expect(again).toMatchObject({ id: "dead1", run: 2, attempt: 1, visible: true });
    // The row has it when the answer is there.
    expect((await fixture.jobs.getJob({ id: "dead1" })).job).toMatchObject({
      state: JobState.QUEUED,
      run: 2,
      attempt: 1,
    });
    const message = await heard.message;
    expect(new TextDecoder().decode(message.data)).toBe("hello");
    expect(message.header(headerNames.id)).toBe("dead1");
    expect(message.header(headerNames.messageId)).toBe("dead1:2:1:0");
    expect(message.header(headerNames.run)).toBe("2");
    expect(message.header(headerNames.attempt)).toBeUndefined();
    expect(message.header(headerNames.maxAttempts)).toBe("2");
    expect(message.header(headerNames.correlationId)).toBe("cc");
  });

  test("a job that was cancelled runs again, and its mark stays for the run it was meant for", async () => {
    await fixture.jobs.submitJob({ id: "cancelled1", type: "t" });
    await fixture.jobs.cancelJob({ id: "cancelled1" });
    expect(await fixture.jobs.retryJob({ id: "cancelled1" })).toMatchObject({ run: 2, visible: true });
    const mark = await fixture.bus.kv("cancel").get("cancelled1");
    expect(decodeCancelMark("cancelled1", mark?.value ?? new Uint8Array())?.run).toBe(1);
    // The end of the run before is told late: who watches the new one is told nothing of it.
    const seen: string[] = [];
    for await (const { update } of fixture.jobs.watchJob({ id: "cancelled1" })) {
      seen.push(update.case === "event" ? `${update.value.kind} ${update.value.run}` : `row ${update.value?.run}`);
      if (seen.length > 1) continue;
      await say("cancelled1", EventKind.DEAD);
      await say("cancelled1", EventKind.SUCCEEDED, { run: 2 });
    }
    expect(seen).toEqual(["row 2", "succeeded 2"]);
  });
});

describe("a queue's bound", () => {
  test("refuses what waits beyond it, leaves pausing alone, and goes by what has run", async () => {
    const { jobs } = fixture;
    await jobs.pauseQueue({ queue: "bounded" });
    await jobs.setQueueLimits({ queue: "bounded", maxWaitingJobs: 2n });
    expect((await jobs.getQueueStats({ queue: "bounded" })).stats).toMatchObject({ paused: true, maxWaitingJobs: 2n });
    const job = { queue: "bounded", type: "t" };
    for (const id of ["q1", "q2"]) await jobs.submitJob({ ...job, id });
    const error = await refusal(jobs.submitJob(job));
    expect([error.code, error.rawMessage]).toEqual([
      Code.ResourceExhausted,
      "2 jobs wait in queue bounded; the limit is 2",
    ]);
    await say("q1", EventKind.SUCCEEDED, { queue: "bounded" });
    await projected(fixture);
    await expect
      .poll(
        () =>
          jobs.submitJob(job).then(
            () => true,
            () => false,
          ),
        { timeout: 10_000 },
      )
      .toBe(true);
    await jobs.setQueueLimits({ queue: "bounded" });
    await jobs.submitJob(job);
    expect((await jobs.listQueues({})).queues.find(({ queue }) => queue === "bounded")?.paused).toBe(true);
  }, 20_000);
});

describe("a queue's bound of bytes", () => {
  test("refuses a job that is too much beside what waits, whoever published that, and leaves room for smaller ones", async () => {
    const { jobs, bus } = fixture;
    const queue = "heavy";
    const rawOf = (bytes: number) => ({ content: { case: "raw" as const, value: new Uint8Array(bytes) } });
    const job = (bytes: number) => ({ queue, type: "t", payload: rawOf(bytes) });
    // A plain publish counts.
    await bus.publishDurable(`jobs.normal.${queue}.t.plain`, new Uint8Array(400));
    await projected(fixture);
    await jobs.setQueueLimits({ queue, maxWaitingBytes: 1000n });
    expect((await jobs.getQueueStats({ queue })).stats).toMatchObject({ maxWaitingJobs: 0n, maxWaitingBytes: 1000n });
    expect((await jobs.listQueues({})).queues.find((one) => one.queue === queue)?.maxWaitingBytes).toBe(1000n);
    await jobs.submitJob({ ...job(400), id: "heavy1" });
    const error = await refusal(jobs.submitJob(job(201)));
    expect([error.code, error.rawMessage]).toEqual([
      Code.ResourceExhausted,
      "800 bytes wait in queue heavy; the limit is 1000, and this job has 201",
    ]);
    await jobs.submitJob({ ...job(200), id: "heavy2" });
    await projected(fixture);
    await refusal(jobs.submitJob(job(1)));
    await say("heavy1", EventKind.SUCCEEDED, { queue });
    await projected(fixture);
    const isTaken = (): Promise<boolean> =>
      jobs.submitJob(job(400)).then(
        () => true,
        () => false,
      );
    await expect.poll(isTaken, { timeout: 10_000 }).toBe(true);
    await refusal(jobs.submitJob(job(1)));
    await jobs.setQueueLimits({ queue });
    await jobs.submitJob(job(5000));
  }, 20_000);
});

describe("queues", () => {
  test("pause and resume are in the settings that workers follow", async () => {
    await fixture.jobs.pauseQueue({ queue: "quiet" });
    expect((await fixture.jobs.listQueues({})).queues.find(({ queue }) => queue === "quiet")?.paused).toBe(true);
    await fixture.jobs.resumeQueue({ queue: "quiet" });
    expect((await fixture.jobs.getQueueStats({ queue: "quiet" })).stats?.paused).toBe(false);
  });
});

test("a job of a paused queue says why it waits", async () => {
  await fixture.jobs.pauseQueue({ queue: "halted" });
  await fixture.jobs.submitJob({ id: "halted1", queue: "halted", type: "t" });
  await projected(fixture);
  const waitReason = 'queue "halted" is paused';
  expect((await fixture.jobs.getJob({ id: "halted1" })).job).toMatchObject({ waitReason });
  expect((await fixture.jobs.listJobs({ queue: "halted" })).jobs).toMatchObject([{ waitReason }]);
  await fixture.jobs.resumeQueue({ queue: "halted" });
  expect((await fixture.jobs.getJob({ id: "halted1" })).job?.waitReason).toBe("");
});

describe("events on the wire", () => {
  test("what control decides is an event batch of its own", async () => {
    const seen: Delivery[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const { lastSeq } = await fixture.bus.streamState("EVENTS");
    await using reader = fixture.bus.readEvents({
      startSeq: lastSeq + 1,
      onBatch: (messages) => {
        seen.push(...messages.filter((message) => message.subject.startsWith("events.batch.control-")));
        if (seen.length > 0) resolve();
      },
    });
    void reader;
    await fixture.jobs.submitJob({ id: "wire", type: "t" });
    await fixture.jobs.cancelJob({ id: "wire" });
    await promise;
    const batch = fromBinary(EventBatchSchema, seen[0]?.data ?? new Uint8Array(0));
    expect(batch.events).toMatchObject([{ jobId: "wire", kind: EventKind.CANCELLED }]);
  });
});

describe("while the database is away", () => {
  test("jobs are accepted, and reading them is unavailable", async () => {
    await using stack = new AsyncDisposableStack();
    const store = stack.use(await openStore({ databaseUrl: "postgres://127.0.0.1:1/nowhere" }));
    const deps = {
      logger: createLogger({ name: "test", level: "silent" }),
      metrics: createMetrics(),
      health: new Health(),
    };
    const control = stack.use(await startControl({}, { bus: fixture.bus, store, ...deps }));
    const jobs = createClient(JobService, createDirectTransport(controlPipeline(control)));
    expect((await jobs.submitJob({ id: "away", type: "t" })).id).toBe("away");
    expect((await jobs.submitJob({ type: "t", waitMs: 30 })).result).toBeUndefined();
    for (const call of [jobs.getJob({ id: "away" }), jobs.listJobs({}), jobs.listQueues({})]) {
      expect((await refusal(call)).code).toBe(Code.Unavailable);
    }
    expect((await deps.health.readiness()).missing.map(({ part }) => part)).toContain("database");
  });
});
