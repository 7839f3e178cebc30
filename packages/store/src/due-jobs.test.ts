import { JobState, jobVersion } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { ReleasedJob } from "./sql/mark-released.ts";
import type { Store } from "./store.ts";
import { eachDatabase } from "./testing/each-database.ts";
import { testPatch, testSubmission } from "./testing/job-patch.ts";
import { eventsAt } from "./testing/log-cursors.ts";

const limit = 10;

/** Applies patches as successive messages of one stream. */
function feeder(store: Store) {
  let seq = 0;
  return (...patches: ReturnType<typeof testPatch>[]) =>
    store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) });
}

function waiting(id: string, dueAtMs: number, more: Parameters<typeof testPatch>[2] = {}) {
  return testPatch(id, JobState.SCHEDULED, { submission: testSubmission(), dueAtMs, runAtMs: dueAtMs, ...more });
}

function released(id: string, version: number, seq = 7): ReleasedJob {
  return { id, version, place: { stream: "JOBS_NORMAL", seq, version: version + 2 } };
}

eachDatabase((openTestStore) => {
  test("due jobs are claimed once, earliest first, and due again when their lease ends", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    expect((await store.nextDue()).delayMs).toBeUndefined();
    const nowMs = Date.now();
    await feed(waiting("late", nowMs + 60_000));
    const next = await store.nextDue();
    expect(next.delayMs).toBeGreaterThan(30_000);
    expect(Math.abs(next.nowMs - nowMs)).toBeLessThan(30_000);
    await feed(waiting("b", nowMs - 1000), waiting("a", nowMs - 2000), waiting("c", nowMs - 500));
    expect((await store.nextDue()).delayMs).toBe(0);
    const first = await store.claimDueJobs({ limit: 2, leaseMs: 60_000 });
    expect(first.map(({ id }) => id)).toEqual(["a", "b"]);
    expect(first[0]?.lateMs).toBeGreaterThan(1900);
    const second = await store.claimDueJobs({ limit, leaseMs: 0 });
    expect(second.map(({ id }) => id)).toEqual(["c"]);
    expect((await store.claimDueJobs({ limit, leaseMs: 0 })).map(({ id }) => id)).toEqual(["c"]);
    await store.markReleased([...first, ...second].map(({ id, version }) => released(id, version)));
    expect((await store.nextDue()).delayMs).toBeGreaterThan(30_000);
  });

  test("a due job has what its publisher said", async () => {
    await using store = await openTestStore();
    const submission = { ...testSubmission("text"), owner: "ada", replyTo: "_INBOX.x" };
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const more = { submission, traceparent, run: 2, attempt: 3, move: 1, maxAttempts: 7 };
    await feeder(store)(waiting("a", 1000, more));
    const [job] = await store.claimDueJobs({ limit, leaseMs: 0 });
    expect(job).toMatchObject({
      id: "a",
      queue: "default",
      type: "echo",
      owner: "ada",
      version: jobVersion({ run: 2, attempt: 3, move: 1, state: JobState.SCHEDULED }),
      maxAttempts: 7,
      headers: submission.headers,
      traceparent,
      replyTo: "_INBOX.x",
    });
    expect(Buffer.from(job?.payload ?? []).toString()).toBe("text");
  });

  test("a release notes the place, and is nothing for a row that has gone on", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    await feed(waiting("a", 1000), waiting("b", 1000), waiting("c", 1000));
    const claimed = await store.claimDueJobs({ limit, leaseMs: 60_000 });
    // Meanwhile b was read from its log, and c is to wait again.
    await feed(testPatch("b", JobState.QUEUED), waiting("c", Date.now() + 60_000, { attempt: 2 }));
    await store.markReleased(claimed.map(({ id, version }) => released(id, version)));
    const version = jobVersion({ run: 1, attempt: 1, move: 0, state: JobState.QUEUED });
    expect(await store.getJob("a")).toMatchObject({
      dueAtMs: 0,
      place: { stream: "JOBS_NORMAL", seq: 7, version },
      job: { state: JobState.SCHEDULED },
    });
    expect(await store.getJob("b")).toMatchObject({ dueAtMs: 0, job: { state: JobState.QUEUED } });
    expect((await store.getJob("b"))?.place).toBeUndefined();
    expect((await store.getJob("c"))?.dueAtMs).toBeGreaterThan(Date.now());
  });

  test("a job that has ended is due no more", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    await feed(waiting("a", 1000));
    await feed(testPatch("a", JobState.CANCELLED, { finishedAtMs: 5 }));
    expect(await store.claimDueJobs({ limit, leaseMs: 0 })).toEqual([]);
    expect((await store.nextDue()).delayMs).toBeUndefined();
  });
});
