import { create } from "@bufbuild/protobuf";
import { EventKind, JobEventSchema, JobState } from "@millrace/protocol";
import { expect, it } from "vitest";
import { Coalescer } from "./coalescer.ts";
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
  into.add(kind === EventKind.SUBMITTED ? { ...patch, submission } : patch);
  into.lastSeq = seq;
  into.messages++;
}

function ids({ patches }: { readonly patches: readonly { readonly id: string }[] }): string[] {
  return patches.map(({ id }) => id);
}

it("holds back jobs that only wait, and writes them once with their outcome", () => {
  const first = new Coalescer(10);
  take(first, 11, "a", EventKind.SUBMITTED);
  take(first, 12, "b", EventKind.SUBMITTED);
  take(first, 13, "c", EventKind.SUCCEEDED);
  const one = first.holdBack();
  expect(ids(one)).toEqual(["c"]);
  // Nothing from message 11 on counts as read: a crash here reads it again.
  expect(one.completeSeq).toBe(10);

  take(one.next, 14, "a", EventKind.SUCCEEDED);
  const two = one.next.holdBack();
  expect(two.patches).toMatchObject([{ id: "a", state: JobState.SUCCEEDED }]);
  expect(two.patches[0]?.submission).toBeDefined();
  expect(two.completeSeq).toBe(10);

  take(two.next, 15, "b", EventKind.SUCCEEDED);
  const three = two.next.holdBack();
  expect(ids(three)).toEqual(["b"]);
  expect(three.completeSeq).toBe(15);
});

it("writes what still waits after a bounded number of messages", () => {
  let pending = new Coalescer(0);
  take(pending, 1, "slow", EventKind.SUBMITTED);
  const written: number[] = [];
  for (let seq = 30_000; seq <= 150_000; seq += 30_000) {
    take(pending, seq, `other${seq}`, EventKind.SUBMITTED);
    const write = pending.holdBack();
    if (ids(write).includes("slow")) written.push(seq);
    expect(write.completeSeq).toBeLessThan(seq);
    pending = write.next;
  }
  expect(written).toEqual([120_000]);
  expect(pending.patches().map(({ id }) => id)).toEqual(["other90000", "other120000", "other150000"]);
});

it("finds a job of small writes among those that are held", () => {
  let pending = new Coalescer(0);
  for (let seq = 1; seq <= 50; seq++) {
    take(pending, seq, `job${seq}`, EventKind.SUBMITTED);
    pending = pending.holdBack().next;
  }
  take(pending, 51, "job7", EventKind.SUCCEEDED);
  expect(ids(pending.holdBack())).toEqual(["job7"]);
});

it("keeps jobs of one id apart, and writes the one first that came first", () => {
  const first = new Coalescer(0);
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
