import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { JobState, jobVersion, Priority, stateName, type MillraceError } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { JobPatch } from "./job-patch.ts";
import type { Store } from "./store.ts";
import { eachDatabase } from "./testing/each-database.ts";
import { testPatch, testSubmission } from "./testing/job-patch.ts";
import { eventsAt } from "./testing/log-cursors.ts";

/** Applies patches as successive messages of one stream. */
function feeder(store: Store) {
  let seq = 0;
  return async (...patches: JobPatch[]) => {
    await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) });
  };
}

const done = { startedAtMs: 1_700_000_000_500, finishedAtMs: 1_700_000_000_900, runUs: 400_000, worker: "w1" };

eachDatabase((openTestStore) => {
  test("a job's row follows its events", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    const place = { stream: "JOBS_NORMAL", seq: 7, version: testPatch("a", JobState.QUEUED).version };
    await feed(testPatch("a", JobState.QUEUED, { submission: testSubmission(), place, maxAttempts: 5 }));
    const queued = await store.getJob("a");
    expect(queued?.job.state).toBe(JobState.QUEUED);
    expect(queued?.job.payload?.content).toMatchObject({ case: "json" });
    expect(queued?.job.tags).toEqual(["red", "green"]);
    expect(queued?.place).toEqual(place);
    expect(queued?.headers).toEqual({ "X-Test": "yes" });
    const result = new Uint8Array([0, 255, 1]);
    await feed(testPatch("a", JobState.SUCCEEDED, { ...done, result, resultContentType: "application/octet-stream" }));
    const ended = (await store.getJob("a"))?.job;
    expect(ended?.state).toBe(JobState.SUCCEEDED);
    expect(ended?.result?.content).toEqual({ case: "raw", value: Buffer.from(result) });
    expect(ended?.runUs).toBe(400_000n);
    expect(ended?.worker).toBe("w1");
    expect(ended?.maxAttempts).toBe(5);
  });

  test("a row tells what ran the attempt, and the limit that it ran into", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    const breach = { resource: "fuel", figure: 1_000_000_001, limit: 1_000_000_000, unit: "units" };
    const failure = { attempt: 1, code: "OUT_OF_FUEL", message: "used up", retryable: false, atMs: 7, breach };
    await feed(testPatch("a", JobState.QUEUED, { submission: testSubmission() }));
    await feed(testPatch("a", JobState.DEAD, { plugin: "p@1.0.0", fuel: 1_000_000_001, failures: [failure] }));
    const job = (await store.getJob("a"))?.job;
    expect(job).toMatchObject({ plugin: "p@1.0.0", fuel: 1_000_000_001n });
    expect(job?.error?.breach).toMatchObject({ ...breach, figure: 1_000_000_001n, limit: 1_000_000_000n });
    const [listed] = (await store.listJobs({}, { size: 1, token: "" })).jobs;
    expect(listed).toMatchObject({ plugin: "p@1.0.0", error: { breach: { resource: "fuel" } } });
    await feed(testPatch("b", JobState.SUCCEEDED, done));
    expect((await store.getJob("b"))?.job).toMatchObject({ plugin: "", fuel: 0n });
  });

  test("a zero byte in a header's name or value keeps no row out", async () => {
    await using store = await openTestStore();
    const submission = { ...testSubmission(), headers: { "X\0Name": "a\0\0b", "X-Plain": "\\u0000" } };
    await feeder(store)(testPatch("a", JobState.QUEUED, { submission }));
    expect((await store.getJob("a"))?.headers).toEqual({
      "X\u{fffd}Name": "a\u{fffd}\u{fffd}b",
      "X-Plain": "\\u0000",
    });
  });

  test("a row is its first job's, whoever uses the id again", async () => {
    await using store = await openTestStore();
    const mine = testPatch("a", JobState.QUEUED, { submission: { ...testSubmission(), owner: "ada" } });
    const theirs = { queue: "theirs", submission: { ...testSubmission(), owner: "eve" } };
    const other = testPatch("a", JobState.SUCCEEDED, { ...theirs, ...done, result: new Uint8Array([6]) });
    // Both in one transaction: the first one that came has the row.
    const both = await store.applyEvents([mine, other], { name: "jobs", from: eventsAt(0), to: eventsAt(1) });
    expect(both).toEqual({ strangers: [other], doubles: [] });
    const feed = async (seq: number, ...patches: JobPatch[]) =>
      (await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(seq + 1) })).strangers;
    const failures = [{ attempt: 2, code: "TRAPPED", message: "", retryable: true, atMs: 5 }];
    expect(await feed(1, testPatch("a", JobState.DEAD, { type: "other", attempt: 2, failures }))).toHaveLength(1);
    expect(await feed(2, testPatch("a", JobState.RUNNING, { type: "other", attempt: 3 }))).toHaveLength(1);
    const { job } = (await store.getJob("a")) ?? {};
    expect(job).toMatchObject({ state: JobState.QUEUED, attempt: 1, owner: "ada", queue: "default" });
    expect(job?.error).toBeUndefined();
    expect(await store.readOwnerLoad("ada", "jobs")).toMatchObject({ jobs: 1 });
    expect(await store.readOwnerLoad("eve", "jobs")).toMatchObject({ jobs: 0 });
    expect(await feed(3, testPatch("a", JobState.SUCCEEDED, done))).toEqual([]);
    expect((await store.getJob("a"))?.job.state).toBe(JobState.SUCCEEDED);
    expect((await store.listQueues()).map(({ queue, succeeded }) => [queue, succeeded])).toEqual([["default", 1n]]);
  });

  test("a stale event changes nothing, and the first terminal state stays", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    await feed(testPatch("a", JobState.CANCELLED, { finishedAtMs: 5 }));
    const before = await store.getJob("a");
    await feed(testPatch("a", JobState.RUNNING));
    await feed(testPatch("a", JobState.SUCCEEDED, done));
    expect(await store.getJob("a")).toEqual(before);
    await feed(testPatch("a", JobState.QUEUED, { submission: testSubmission() }));
    const filled = await store.getJob("a");
    expect(filled?.job.state).toBe(JobState.CANCELLED);
    expect(filled?.job.correlationId).toBe("c1");
    // Not even another attempt: only another run.
    await feed(testPatch("a", JobState.QUEUED, { attempt: 2 }));
    expect((await store.getJob("a"))?.job.state).toBe(JobState.CANCELLED);
    await feed(testPatch("a", JobState.QUEUED, { run: 2 }));
    expect((await store.getJob("a"))?.job).toMatchObject({ state: JobState.QUEUED, run: 2, attempt: 1 });
    await feed(testPatch("a", JobState.SUCCEEDED, done));
    expect((await store.getJob("a"))?.job.state).toBe(JobState.QUEUED);
  });

  test("an end of an earlier attempt ends the run", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    await feed(testPatch("a", JobState.RUNNING, { attempt: 2, submission: testSubmission() }));
    await feed(testPatch("a", JobState.CANCELLED, { attempt: 1, finishedAtMs: 5 }));
    await feed(testPatch("a", JobState.SUCCEEDED, { attempt: 2, ...done }));
    expect((await store.getJob("a"))?.job).toMatchObject({ state: JobState.CANCELLED, attempt: 1 });
  });

  test("a job that waits for its time has one until it goes on", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    const dueAtMs = 1_700_000_100_000;
    const submission = { ...testSubmission(), replyTo: "_INBOX.x" };
    await feed(testPatch("a", JobState.QUEUED, { submission }));
    await feed(testPatch("a", JobState.SCHEDULED, { move: 1, dueAtMs, runAtMs: dueAtMs }));
    expect(await store.getJob("a")).toMatchObject({ dueAtMs, replyTo: "_INBOX.x", job: { state: JobState.SCHEDULED } });
    await feed(testPatch("a", JobState.QUEUED, { move: 1 }));
    expect(await store.getJob("a")).toMatchObject({ dueAtMs: 0, job: { state: JobState.QUEUED } });
  });

  test("a second message of a job is told apart from the same one read again, and is noted", async () => {
    await using store = await openTestStore();
    let seq = 0;
    const feed = async (...patches: JobPatch[]) =>
      (await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) })).doubles;
    const at = (stream: string, place: number, more: Parameters<typeof testPatch>[2] = {}): JobPatch => {
      const patch = testPatch("a", JobState.QUEUED, { submission: testSubmission(), ...more });
      return { ...patch, place: { stream, seq: place, version: patch.version } };
    };
    expect(await feed(at("JOBS_HIGH", 1))).toEqual([]);
    expect(await feed(at("JOBS_HIGH", 1))).toEqual([]);
    expect(await feed(at("JOBS_HIGH", 9, { move: 1 }))).toEqual([]);
    const later = { id: "a", stream: "JOBS_LOW", seq: 3, atMs: 1_700_000_000_500 };
    const double = at("JOBS_LOW", 3, { move: 1, submittedAtMs: later.atMs });
    expect(await feed(double)).toEqual([later]);
    expect(await feed(double)).toEqual([later]);
    const stored = await store.getJob("a");
    expect(stored?.place).toMatchObject({ stream: "JOBS_HIGH", seq: 9 });
    expect(stored?.job.duplicates).toMatchObject([{ place: "JOBS_LOW/3", mayHaveRun: true }]);
  });

  test("a row is its message's: events of a second one are told apart, and the earlier of two is the job", async () => {
    await using store = await openTestStore();
    let seq = 0;
    const feed = async (...patches: JobPatch[]) =>
      (await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) })).doubles;
    const queued = testPatch("a", JobState.QUEUED).version;
    const t0 = 1_700_000_000_000;
    const priorities = { JOBS_HIGH: Priority.HIGH, JOBS_LOW: Priority.LOW } as const;
    const at = (stream: keyof typeof priorities, afterMs: number): Partial<JobPatch> => ({
      place: { stream, seq: 7, version: queued },
      priority: priorities[stream],
      submittedAtMs: t0 + afterMs,
      ofMessage: true,
    });
    const message = (id: string, stream: keyof typeof priorities, afterMs: number): JobPatch =>
      testPatch(id, JobState.QUEUED, {
        ...at(stream, afterMs),
        first: { run: 1, stream, seq: 7 },
        submission: { ...testSubmission(`"${stream}"`), owner: "ada" },
        eventSeq: 0,
      });
    const told = (id: string, state: JobState, stream: keyof typeof priorities, afterMs: number): JobPatch =>
      testPatch(id, state, { ...done, ...at(stream, afterMs), result: Buffer.from(`"${stream}"`), eventSeq: 5 });
    const double = (id: string, stream: string, afterMs: number) => ({ id, stream, seq: 7, atMs: t0 + afterMs });
    const rowOf = async (id: string) => {
      const row = await store.getJob(id);
      const text = (of: { content: { value?: unknown } } | undefined) => of?.content.value;
      return [row?.job.priority, row?.place?.stream, row?.job.state, text(row?.job.payload), text(row?.job.result)];
    };
    const json = (value: string) => expect.objectContaining({ kind: { case: "stringValue", value } });

    // The later one ends first.
    expect(await feed(message("a", "JOBS_HIGH", 0))).toEqual([]);
    expect(await feed(told("a", JobState.SUCCEEDED, "JOBS_LOW", 3))).toEqual([double("a", "JOBS_LOW", 3)]);
    expect(await feed(told("a", JobState.RUNNING, "JOBS_LOW", 3))).toEqual([double("a", "JOBS_LOW", 3)]);
    expect((await store.getJob("a"))?.job.state).toBe(JobState.QUEUED);
    expect(await feed(told("a", JobState.SUCCEEDED, "JOBS_HIGH", 0))).toEqual([]);
    const ofHigh = [Priority.HIGH, "JOBS_HIGH", JobState.SUCCEEDED, json("JOBS_HIGH"), expect.anything()];
    expect(await rowOf("a")).toEqual(ofHigh);

    // Of the later one everything is told before the earlier one is read; or only its message.
    expect(await feed(told("b", JobState.SUCCEEDED, "JOBS_LOW", 3))).toEqual([]);
    expect(await feed(message("b", "JOBS_HIGH", 0))).toEqual([double("b", "JOBS_LOW", 3)]);
    expect(await feed(message("b", "JOBS_LOW", 3))).toEqual([double("b", "JOBS_LOW", 3)]);
    expect(await feed(message("c", "JOBS_LOW", 3))).toEqual([]);
    expect(await feed(message("c", "JOBS_HIGH", 0))).toEqual([double("c", "JOBS_LOW", 3)]);
    for (const id of ["b", "c"]) {
      expect(await rowOf(id)).toEqual([Priority.HIGH, "JOBS_HIGH", JobState.QUEUED, json("JOBS_HIGH"), undefined]);
      expect((await store.getJob(id))?.job.duplicates).toMatchObject([{ place: "JOBS_LOW/7" }]);
      expect(await feed(told(id, JobState.SUCCEEDED, "JOBS_HIGH", 0))).toEqual([]);
      expect(await rowOf(id)).toEqual(ofHigh);
    }
    // So are the attempts of each.
    const second = jobVersion({ run: 1, attempt: 2, move: 0, state: JobState.QUEUED });
    const again = (state: JobState, stream: keyof typeof priorities, more: Partial<JobPatch>): JobPatch =>
      testPatch("f", state, {
        ...at(stream, 5),
        place: { stream, seq: 8, version: second },
        attempt: 2,
        ...more,
      });
    expect(await feed(message("f", "JOBS_HIGH", 0))).toEqual([]);
    const ofLow = { id: "f", stream: "JOBS_LOW", seq: 8, atMs: t0 + 5 };
    expect(await feed(again(JobState.QUEUED, "JOBS_LOW", { submission: testSubmission(), eventSeq: 0 }))).toEqual([
      ofLow,
    ]);
    expect(await feed(again(JobState.SUCCEEDED, "JOBS_LOW", done))).toEqual([ofLow]);
    expect(await feed(again(JobState.SUCCEEDED, "JOBS_HIGH", { ...done, result: Buffer.from('"JOBS_HIGH"') }))).toEqual(
      [],
    );
    expect(await rowOf("f")).toEqual(ofHigh);
    // What somebody heard of a job stays: of two that have run, the one whose row has ended.
    expect(await feed(message("d", "JOBS_LOW", 3), message("e", "JOBS_LOW", 3))).toEqual([]);
    expect(await feed(told("d", JobState.SUCCEEDED, "JOBS_LOW", 3))).toEqual([]);
    expect(await feed(message("d", "JOBS_HIGH", 0))).toEqual([double("d", "JOBS_HIGH", 0)]);
    expect((await rowOf("d")).slice(0, 3)).toEqual([Priority.LOW, "JOBS_LOW", JobState.SUCCEEDED]);
    // A cancelled run is so whichever message it is of.
    const cancelled = testPatch("e", JobState.CANCELLED, { ...at("JOBS_HIGH", 9), ofMessage: false, eventSeq: 6 });
    expect(await feed(cancelled)).toHaveLength(1);
    expect((await rowOf("e")).slice(0, 3)).toEqual([Priority.LOW, "JOBS_LOW", JobState.CANCELLED]);
    const counts = await store.getQueueStats("default");
    expect(counts).toMatchObject({ queued: 0n, succeeded: 5n, cancelled: 1n });
    expect(await store.readOwnerLoad("ada", "jobs")).toMatchObject({ jobs: 0, bytes: 0 });
  });

  test("an id is free again a day after the job that had it, once that has ended", async () => {
    await using store = await openTestStore();
    let seq = 0;
    const feed = async (...patches: JobPatch[]) =>
      (await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) })).doubles;
    const day = 24 * 3600_000;
    const message = (at: number, afterMs: number, text: string, over: Partial<JobPatch> = {}): JobPatch => {
      const [stream, { version }] = ["JOBS_LOW", testPatch("a", JobState.QUEUED)];
      return testPatch("a", JobState.QUEUED, {
        submission: { ...testSubmission(), payload: new TextEncoder().encode(text) },
        place: { stream, seq: at, version },
        first: { run: 1, stream, seq: at },
        submittedAtMs: 1_700_000_000_000 + afterMs,
        ...over,
      });
    };
    const ended = testPatch("a", JobState.SUCCEEDED, { ...done, submittedAtMs: 1_700_000_000_000 });
    expect(await feed(message(1, 0, '"first"'))).toEqual([]);
    // It waits still.
    expect(await feed(message(2, day, '"second"'))).toHaveLength(1);
    expect(await feed(ended)).toEqual([]);
    expect(await feed(message(3, day - 1, '"third"'))).toHaveLength(1);
    // Somebody's own job is no business of a stranger's.
    const theirs = { submission: { ...testSubmission(), owner: "eve" } };
    expect(await feed(message(4, day, "", theirs))).toHaveLength(1);
    expect((await store.getJob("a"))?.job.state).toBe(JobState.SUCCEEDED);

    const next = message(5, day, '"fifth"');
    expect(await feed(next)).toEqual([]);
    const row = await store.getJob("a");
    expect(row).toMatchObject({ place: { seq: 5 }, job: { state: JobState.QUEUED, run: 1, duplicates: [] } });
    expect(row?.job.payload?.content.value).toMatchObject({ kind: { value: "fifth" } });
    expect(row?.job.submittedAt).toEqual(timestampFromMs(next.submittedAtMs));
    expect(row?.job.finishedAt).toBeUndefined();
    // Read again, both messages change nothing.
    expect(await feed(next)).toEqual([]);
    expect(await feed(message(1, 0, '"first"'))).toHaveLength(1);
    expect((await store.getJob("a"))?.place?.seq).toBe(5);
    expect(await feed(testPatch("a", JobState.SUCCEEDED, { ...done, submittedAtMs: next.submittedAtMs }))).toEqual([]);
    const counts = await store.getQueueStats(next.queue);
    expect(counts).toMatchObject({ queued: 0n, succeeded: 1n });
  });

  test("a second message of a job that has gone on to another attempt is told all the same", async () => {
    await using store = await openTestStore();
    let seq = 0;
    const feed = async (...patches: JobPatch[]) =>
      (await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) })).doubles;
    const first = (stream: string, place: number, more: Parameters<typeof testPatch>[2] = {}): JobPatch => {
      const patch = testPatch("a", JobState.QUEUED, { submission: testSubmission(), eventSeq: 0, ...more });
      return { ...patch, first: { run: 1, stream, seq: place }, place: { stream, seq: place, version: patch.version } };
    };
    expect(await feed(first("JOBS_HIGH", 1))).toEqual([]);
    const retry = testPatch("a", JobState.QUEUED, { attempt: 2, submission: testSubmission(), eventSeq: 0 });
    expect(await feed({ ...retry, place: { stream: "JOBS_HIGH", seq: 2, version: retry.version } })).toEqual([]);
    expect(await feed(first("JOBS_HIGH", 1))).toEqual([]);
    const double = { id: "a", stream: "JOBS_LOW", seq: 7, atMs: 1_700_000_000_000 };
    expect(await feed(first("JOBS_LOW", 7))).toEqual([double]);
    expect(await store.getJob("a")).toMatchObject({ job: { attempt: 2 }, place: { stream: "JOBS_HIGH", seq: 2 } });
    // A delayed job and one without delay, under one id: the latter is no release of the former.
    const later = testPatch("b", JobState.SCHEDULED, { submission: testSubmission(), eventSeq: 0, dueAtMs: 5 });
    const place = { stream: "SCHEDULE", seq: 1, version: later.version };
    expect(await feed({ ...later, place, first: { run: 1, stream: "SCHEDULE", seq: 1 } })).toEqual([]);
    expect(await feed({ ...first("JOBS_LOW", 8), id: "b" })).toMatchObject([{ id: "b", stream: "JOBS_LOW", seq: 8 }]);
    expect((await store.getJob("b"))?.job.state).toBe(JobState.SCHEDULED);
    // What is told of its end is true all the same.
    const ended = testPatch("b", JobState.SUCCEEDED, { ...done, eventSeq: 9, submission: testSubmission() });
    const end = {
      ...ended,
      first: { run: 1, stream: "JOBS_LOW", seq: 8 },
      place: { stream: "JOBS_LOW", seq: 8, version: 0 },
    };
    expect(await feed(end)).toMatchObject([{ id: "b" }]);
    expect((await store.getJob("b"))?.job.state).toBe(JobState.SUCCEEDED);
  });

  test("what is told of a run after its end leaves its errors alone", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    const failure = { attempt: 1, code: "DEADLINE_EXCEEDED", message: "late", retryable: false, atMs: 9 };
    await feed(testPatch("a", JobState.SUCCEEDED, { ...done, submission: testSubmission() }));
    await feed(testPatch("a", JobState.EXPIRED, { failures: [failure] }));
    await feed(testPatch("a", JobState.RETRYING, { failures: [failure] }));
    expect((await store.getJob("a"))?.job.errors).toEqual([]);
    await feed(testPatch("a", JobState.DEAD, { run: 2, failures: [{ ...failure, run: 2 }] }));
    expect((await store.getJob("a"))?.job.errors).toMatchObject([{ run: 2, attempt: 1, code: "DEADLINE_EXCEEDED" }]);
  });

  test("failures gather by attempt, the newest 20", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    for (let attempt = 25; attempt >= 1; attempt--) {
      const failure = { attempt, code: "HANDLER_FAILED", message: `no ${attempt} \0`, retryable: true, atMs: attempt };
      await feed(testPatch("a", JobState.RETRYING, { attempt, failures: [failure] }));
      await feed(testPatch("a", JobState.RETRYING, { attempt, failures: [{ ...failure, message: "again" }] }));
    }
    const job = (await store.getJob("a"))?.job;
    expect(job?.errors.map((e) => e.attempt)).toEqual(Array.from({ length: 20 }, (_, i) => i + 6));
    expect(job?.error).toMatchObject({ attempt: 25, message: "no 25 \uFFFD" });
  });

  test("queue stats count what the rows say", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    const ids = Array.from({ length: 10 }, (_, i) => `j${i}`);
    await feed(...ids.map((id) => testPatch(id, JobState.QUEUED, { queue: "mail", priority: Priority.HIGH })));
    expect(await store.getQueueStats("mail")).toMatchObject({
      queued: 10n,
      waiting: [{ priority: Priority.HIGH, count: 10n }],
    });
    const some = ids.slice(0, 4).map((id) => testPatch(id, JobState.DEAD, { queue: "mail", priority: Priority.HIGH }));
    await feed(...some, testPatch("other", JobState.RUNNING));
    await feed(...some);
    expect(await store.getQueueStats("mail")).toMatchObject({ queued: 6n, dead: 4n, running: 0n });
    expect((await store.listQueues()).map((q) => [q.queue, q.running])).toEqual([
      ["default", 1n],
      ["mail", 0n],
    ]);
    expect(await store.getQueueStats("none")).toBeUndefined();
  });

  test("a reader whose cursor was moved by another writes nothing", async () => {
    await using store = await openTestStore();
    const cursor = { seq: 5, streamCreatedMs: 7, atMs: 8 };
    const both = new Map([
      ["EVENTS", cursor],
      ["JOBS_HIGH", { ...cursor, seq: 2 }],
    ]);
    const announced = new Map([["JOBS_HIGH", 4]]);
    await store.applyEvents([], { name: "jobs", from: new Map(), to: both, announced });
    const kept = await store.readCursors("jobs");
    expect(kept.get("EVENTS")).toEqual({ ...cursor, flushedSeq: 0, announcedSeq: 0 });
    expect(kept.get("JOBS_HIGH")).toMatchObject({ seq: 2, announcedSeq: 4 });
    // One of several stands elsewhere: none moves.
    const late = store.applyEvents([testPatch("a", JobState.QUEUED)], {
      name: "jobs",
      from: new Map([...both, ["EVENTS", { ...cursor, seq: 3 }]]),
      to: new Map([...both].map(([log, { seq }]) => [log, { ...cursor, seq: seq + 1 }])),
    });
    await expect(late).rejects.toMatchObject({ code: "aborted" } satisfies Partial<MillraceError>);
    expect(await store.getJob("a")).toBeUndefined();
    expect(await store.readCursors("jobs")).toEqual(kept);
  });

  test("lists page by page, newest first, by every filter", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    const states = [JobState.QUEUED, JobState.SUCCEEDED, JobState.DEAD];
    await feed(
      ...Array.from({ length: 30 }, (_, i) =>
        testPatch(`j${String(i).padStart(2, "0")}`, states[i % 3] ?? JobState.QUEUED, {
          // Three share each instant, so that the id has to break ties.
          submittedAtMs: 1_700_000_000_000 + Math.floor(i / 3),
          queue: i < 20 ? "mail" : "other",
          type: i % 2 === 0 ? "even" : "odd",
          submission: { ...testSubmission(), tags: [`t${i % 5}`], correlationId: `c${i}` },
        }),
      ),
    );
    const seen: string[] = [];
    let token = "";
    do {
      const page = await store.listJobs({}, { size: 7, token });
      seen.push(...page.jobs.map((job) => job.id));
      token = page.nextPageToken;
    } while (token !== "");
    expect(seen).toEqual(Array.from({ length: 30 }, (_, i) => `j${String(29 - i).padStart(2, "0")}`));
    const count = async (filter: Parameters<Store["listJobs"]>[0]) =>
      (await store.listJobs(filter, { size: 100, token: "" })).jobs.length;
    expect(await count({ queue: "mail" })).toBe(20);
    expect(await count({ states: [JobState.DEAD] })).toBe(10);
    expect(await count({ states: [JobState.DEAD, JobState.SUCCEEDED], type: "even" })).toBe(10);
    expect(await count({ tag: "t3" })).toBe(6);
    expect(await count({ correlationId: "c9" })).toBe(1);
    expect(await count({ priority: Priority.LOW })).toBe(0);
    expect(await count({ submittedAfterMs: 1_700_000_000_003, submittedBeforeMs: 1_700_000_000_005 })).toBe(6);
    const bad = store.listJobs({}, { size: 5, token: "!!" });
    await expect(bad).rejects.toMatchObject({ code: "invalid_argument" });
  });

  test("every state has its place in the stats", async () => {
    await using store = await openTestStore();
    const states = [1, 2, 3, 4, 5, 6, 7, 8] as JobState[];
    await feeder(store)(...states.map((state) => testPatch(`j${state}`, state)));
    const stats = await store.getQueueStats("default");
    for (const state of states) expect(stats).toHaveProperty(stateName(state), 1n);
  });
});
