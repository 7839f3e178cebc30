import { create } from "@bufbuild/protobuf";
import { EventKind, JobEventSchema, JobState, jobVersion } from "@millrace/protocol";
import type { JobPatch } from "@millrace/store";
import { expect, it } from "vitest";
import { Coalescer, type PartialWrite } from "./coalescer.ts";
import { patchFromEvent } from "./patch-from-event.ts";

function take(into: Coalescer, seq: number, id: string, kind: EventKind, queue = "q"): void {
  const event = create(JobEventSchema, { jobId: id, kind, attempt: 1, queue, type: "t", priority: 3, atMs: seq });
  const patch = patchFromEvent(event, "worker", { seq, index: 0 });
  const submission = {
    payload: new Uint8Array(0),
    contentType: "",
    headers: {},
    tags: [],
    correlationId: "",
    uniqueKey: "",
  };
  into.reach("EVENTS", { seq, atMs: seq }, 0);
  into.add(kind === EventKind.SUBMITTED ? { ...patch, submission } : patch);
}

/** Behind the message with this number. */
function after(seq: number, count = seq): Coalescer {
  return new Coalescer(new Map([["EVENTS", { seq, atMs: seq }]]), count);
}

function completeSeq({ complete }: PartialWrite): number {
  return complete.get("EVENTS")?.seq ?? 0;
}

function ids({ patches }: { readonly patches: readonly { readonly id: string }[] }): string[] {
  return patches.map(({ id }) => id);
}

it("holds back jobs that only wait, and writes them once with their outcome", () => {
  const first = after(10);
  take(first, 11, "a", EventKind.SUBMITTED);
  take(first, 12, "b", EventKind.SUBMITTED);
  take(first, 13, "c", EventKind.SUCCEEDED);
  const one = first.holdBack();
  expect(ids(one)).toEqual(["c"]);
  // Nothing from message 11 on counts as read: a crash here reads it again.
  expect(completeSeq(one)).toBe(10);

  take(one.next, 14, "a", EventKind.SUCCEEDED);
  const two = one.next.holdBack();
  expect(two.patches).toMatchObject([{ id: "a", state: JobState.SUCCEEDED }]);
  expect(two.patches[0]?.submission).toBeDefined();
  expect(completeSeq(two)).toBe(10);

  take(two.next, 15, "b", EventKind.SUCCEEDED);
  const three = two.next.holdBack();
  expect(ids(three)).toEqual(["b"]);
  expect(completeSeq(three)).toBe(15);
});

it("writes what still waits after a bounded number of messages", () => {
  let pending = after(0);
  take(pending, 1, "slow", EventKind.SUBMITTED);
  const written: number[] = [];
  for (let seq = 30_000; seq <= 150_000; seq += 30_000) {
    take(pending, seq, `other${seq}`, EventKind.SUBMITTED);
    // What else came by, of other jobs and logs.
    pending.messages += 29_999;
    const write = pending.holdBack();
    if (ids(write).includes("slow")) written.push(seq);
    expect(completeSeq(write)).toBeLessThan(seq);
    pending = write.next;
  }
  expect(written).toEqual([120_000]);
  expect(pending.patches().map(({ id }) => id)).toEqual(["other90000", "other120000", "other150000"]);
});

it("finds a job of small writes among those that are held", () => {
  let pending = after(0);
  for (let seq = 1; seq <= 50; seq++) {
    take(pending, seq, `job${seq}`, EventKind.SUBMITTED);
    pending = pending.holdBack().next;
  }
  take(pending, 51, "job7", EventKind.SUCCEEDED);
  expect(ids(pending.holdBack())).toEqual(["job7"]);
});

it("keeps jobs of one id apart, and writes the one first that came first", () => {
  const first = after(0);
  take(first, 1, "a", EventKind.SUBMITTED);
  const held = first.holdBack();
  expect(ids(held)).toEqual([]);
  take(held.next, 2, "a", EventKind.SUBMITTED, "theirs");
  take(held.next, 3, "a", EventKind.SUCCEEDED, "theirs");
  const { patches, next } = held.next.holdBack();
  expect(patches).toMatchObject([
    { id: "a", queue: "q", state: JobState.QUEUED },
    { id: "a", queue: "theirs", state: JobState.SUCCEEDED },
  ]);
  take(next, 4, "a", EventKind.SUCCEEDED);
  expect(next.holdBack().patches).toMatchObject([{ queue: "q", state: JobState.SUCCEEDED }]);
});

it("reaches as far as each log was read, and holds all of them back together", () => {
  const pending = after(10);
  pending.reach("JOBS_HIGH", { seq: 3, atMs: 1 }, 0);
  take(pending, 11, "a", EventKind.SUBMITTED);
  take(pending, 12, "b", EventKind.SUCCEEDED);
  pending.reach("JOBS_HIGH", { seq: 4, atMs: 2 }, 0);
  const { complete, next } = pending.holdBack();
  expect([...complete.keys()]).toEqual(["EVENTS"]);
  expect([...next.positions].map(([log, { seq }]) => [log, seq])).toEqual([
    ["EVENTS", 12],
    ["JOBS_HIGH", 4],
  ]);
});

it("takes the earlier of two messages of a job for the job, and tells of the other", () => {
  const at = (stream: string, seq: number, atMs: number): JobPatch => {
    const event = create(JobEventSchema, {
      jobId: "a",
      kind: EventKind.SUBMITTED,
      attempt: 1,
      queue: "q",
      type: "t",
      atMs,
    });
    const patch = patchFromEvent(event, "w", { seq: 0, index: 0 });
    const submission = {
      payload: Buffer.from(stream),
      contentType: "",
      headers: {},
      tags: [],
      correlationId: "",
      uniqueKey: "",
    };
    const first = { run: 1, stream, seq };
    return { ...patch, submission, first, place: { stream, seq, version: patch.version } };
  };
  for (const order of [
    [at("JOBS_HIGH", 1, 5), at("JOBS_LOW", 1, 6)],
    [at("JOBS_LOW", 1, 6), at("JOBS_HIGH", 1, 5)],
  ]) {
    const pending = after(0);
    for (const patch of order) pending.add(patch);
    // The same message, read again.
    pending.add(at("JOBS_HIGH", 1, 5));
    expect(pending.patches()).toMatchObject([
      { place: { stream: "JOBS_HIGH" }, submission: { payload: Buffer.from("JOBS_HIGH") } },
    ]);
    expect(pending.doubles).toEqual([{ id: "a", stream: "JOBS_LOW", seq: 1, atMs: 6 }]);
  }
  // Also when the job has gone on to another attempt meanwhile.
  const pending = after(0);
  const retried = at("JOBS_HIGH", 9, 7);
  const version = jobVersion({ run: 1, attempt: 2, move: 0, state: JobState.QUEUED });
  pending.add(at("JOBS_HIGH", 1, 5));
  pending.add({ ...retried, version, attempt: 2, first: undefined, place: { stream: "JOBS_HIGH", seq: 9, version } });
  pending.add(at("JOBS_LOW", 1, 6));
  expect(pending.patches()).toMatchObject([{ attempt: 2, place: { seq: 9 }, first: { stream: "JOBS_HIGH", seq: 1 } }]);
  expect(pending.doubles).toEqual([{ id: "a", stream: "JOBS_LOW", seq: 1, atMs: 6 }]);
});

it("keeps what is told of two messages of a job apart, with the earlier message first", () => {
  const version = jobVersion({ run: 1, attempt: 1, move: 0, state: JobState.QUEUED });
  const told = (kind: EventKind, priority: number, atMs: number): JobPatch => {
    const fields = { jobId: "a", kind, run: 1, attempt: 1, queue: "q", type: "t", priority, messageSeq: 7 };
    return patchFromEvent(create(JobEventSchema, { ...fields, atMs: 90, submittedAtMs: atMs }), "w", {
      seq: 9,
      index: 0,
    });
  };
  const message = (stream: string, priority: number, atMs: number): JobPatch => ({
    ...told(EventKind.SUBMITTED, priority, atMs),
    eventSeq: 0,
    submission: {
      payload: Buffer.from(stream),
      contentType: "",
      headers: {},
      tags: [],
      correlationId: "",
      uniqueKey: "",
    },
    first: { run: 1, stream, seq: 7 },
    place: { stream, seq: 7, version },
  });
  const [high, low] = [
    ["JOBS_CRITICAL", 1],
    ["JOBS_LOW", 4],
  ] as const;
  const orders = [
    [message(...high, 5), told(EventKind.SUCCEEDED, low[1], 6), told(EventKind.DEAD, high[1], 5)],
    [told(EventKind.SUCCEEDED, low[1], 6), message(...high, 5), told(EventKind.DEAD, high[1], 5)],
    [told(EventKind.SUCCEEDED, low[1], 6), told(EventKind.DEAD, high[1], 5), message(...high, 5)],
  ];
  for (const order of orders) {
    const pending = after(0);
    for (const patch of order) pending.add(patch);
    const patches = pending
      .patches()
      .map(({ state, place, submission }) => [place?.stream, state, submission !== undefined]);
    expect(patches).toEqual([
      [high[0], JobState.DEAD, true],
      [low[0], JobState.SUCCEEDED, false],
    ]);
    expect(pending.holdBack().patches).toHaveLength(2);
  }
});

it("keeps the attempts of a job apart from those of a second message of another priority", () => {
  const place = (attempt: number, stream: string, seq: number) => {
    const version = jobVersion({ run: 1, attempt, move: 0, state: JobState.QUEUED });
    return { stream, seq, version };
  };
  const told = (kind: EventKind, attempt: number, priority: number, messageSeq: number): JobPatch => {
    const fields = {
      jobId: "a",
      kind,
      run: 1,
      attempt,
      queue: "q",
      type: "t",
      priority,
      messageSeq,
      submittedAtMs: messageSeq,
    };
    return patchFromEvent(create(JobEventSchema, { ...fields, atMs: 90 }), "w", { seq: 9, index: 0 });
  };
  const message = (attempt: number, priority: number, stream: string, seq: number): JobPatch => ({
    ...told(EventKind.SUBMITTED, attempt, priority, seq),
    eventSeq: 0,
    submission: {
      payload: Buffer.from(stream),
      contentType: "",
      headers: {},
      tags: [],
      correlationId: "",
      uniqueKey: "",
    },
    place: place(attempt, stream, seq),
    ...(attempt === 1 ? { first: { run: 1, stream, seq } } : {}),
  });
  // The first message is in the rows, and only its second attempt comes now.
  const pending = after(0);
  pending.add(message(1, 2, "JOBS_HIGH", 59));
  pending.add(message(2, 1, "JOBS_CRITICAL", 58));
  pending.add(message(2, 2, "JOBS_HIGH", 61));
  pending.add(told(EventKind.SUCCEEDED, 2, 1, 58));
  pending.add(told(EventKind.RETRIED, 1, 2, 59));
  pending.add(told(EventKind.DEAD, 2, 2, 61));
  expect(pending.doubles).toEqual([]);
  expect(pending.patches().map(({ priority, place, state }) => [priority, place?.seq, state])).toEqual([
    [2, 61, JobState.DEAD],
    [1, 58, JobState.SUCCEEDED],
  ]);
});
