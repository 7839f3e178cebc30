import { create, toBinary } from "@bufbuild/protobuf";
import { encodeCancelMark, EventBatchSchema, EventKind, JobState } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projected, startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture({ cancelSweepMs: 50, markPatienceMs: 100, markKeepMs: 100 });
}, 60_000);
afterAll(() => fixture?.[Symbol.asyncDispose](), 30_000);

const soon = { timeout: 15_000 };

async function mark(id: string, run: number): Promise<void> {
  await fixture.bus.kv("cancel").put(id, encodeCancelMark({ run, reason: "left behind", atMs: Date.now() }));
}

const isMarked = async (key: string): Promise<boolean> => (await fixture.bus.kv("cancel").get(key)) !== undefined;

test("completes what a control that died has begun, and leaves alone what has ended or runs anew", async () => {
  const { jobs, bus } = fixture;
  await jobs.submitJob({ id: "half", type: "t" });
  await jobs.submitJob({ id: "over", type: "t" });
  await jobs.submitJob({ id: "anew", type: "t" });
  await jobs.cancelJob({ id: "anew" });
  await projected(fixture);
  await jobs.retryJob({ id: "anew" });
  const over = {
    jobId: "over",
    kind: EventKind.SUCCEEDED,
    run: 1,
    attempt: 1,
    queue: "default",
    type: "t",
    priority: 3,
  };
  const batch = create(EventBatchSchema, { source: "w", events: [{ ...over, atMs: Date.now() }] });
  await bus.publishDurable("events.batch.w", toBinary(EventBatchSchema, batch));
  await projected(fixture);
  for (const id of ["half", "over", "anew"]) await mark(id, 1);
  const stateOf = async (id: string) => (await jobs.getJob({ id })).job?.state;
  await expect.poll(() => stateOf("half"), soon).toBe(JobState.CANCELLED);
  expect((await jobs.getJob({ id: "half" })).job?.error).toMatchObject({ code: "CANCELLED", message: "left behind" });
  await projected(fixture);
  expect([await stateOf("over"), await stateOf("anew")]).toEqual([JobState.SUCCEEDED, JobState.QUEUED]);
});

test("a mark stays while a message may be delivered that it bars, and goes with it", async () => {
  const { jobs, bus } = fixture;
  await jobs.submitJob({ id: "marked", type: "t", priority: 2 });
  await jobs.submitJob({ id: "newest", type: "t", priority: 2 });
  await jobs.cancelJob({ id: "marked" });
  await projected(fixture);
  const lies = async () => (await bus.lastMessage("JOBS_HIGH", "jobs.high.default.t.marked")) !== undefined;
  const { seq = 0 } = (await bus.lastMessage("JOBS_HIGH", "jobs.high.default.t.marked")) ?? {};
  // Longer than marks are kept: some sweeps have seen it.
  await mark("sign", 1);
  await expect.poll(() => isMarked("sign"), soon).toBe(false);
  expect([await lies(), await isMarked("marked")]).toEqual([true, true]);
  // As the projector does, once all is read.
  await bus.upkeep.deleteMessage("JOBS_HIGH", seq);
  await expect.poll(() => isMarked("marked"), soon).toBe(false);
});

test("a mark of a job that nobody knows goes when all that may hold it was read", async () => {
  await mark("nobody", 1);
  await expect.poll(() => isMarked("nobody"), soon).toBe(false);
});
