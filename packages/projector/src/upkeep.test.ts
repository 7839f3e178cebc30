import {
  commandSubject,
  decodePlaceMark,
  EventKind,
  eventsStream,
  JobState,
  placeMarkKey,
  repairSubject,
  rowsSubject,
} from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openTestStore, ProjectorFixture, type TestStore, text } from "./projector-fixture.ts";

const timeout = 60_000;
const soon = { timeout: 15_000 };
let opened: TestStore;
let store: Store;

beforeAll(async () => {
  opened = await openTestStore();
  ({ store } = opened);
}, timeout);
afterAll(() => opened[Symbol.asyncDispose](), timeout);

const log = "JOBS_NORMAL";
const ids = (count: number, from = 0): string[] => Array.from({ length: count }, (_, i) => `j${from + i}`);

async function stateOf(id: string): Promise<JobState | undefined> {
  return (await store.getJob(id))?.job.state;
}

describe("trimming", () => {
  test("removes what is finished once it is worth a purge, and keeps the newest message", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project();
    for (const id of ids(300)) await fixture.submit(id, { bytes: 1000 });
    await fixture.end(...ids(300));
    await fixture.catchUp(projector);
    const { maxBytes } = await fixture.bus.streamState(log);
    await expect.poll(async () => (await fixture.bus.streamState(log)).bytes, soon).toBeLessThan(maxBytes * 0.11);
    for (const id of ids(130, 300)) await fixture.submit(id, { bytes: 1000 });
    await fixture.end(...ids(130, 300));
    // All that can go: the last message stays.
    await expect.poll(async () => (await fixture.bus.streamState(log)).messages, soon).toBeLessThan(110);
    expect((await fixture.bus.streamState(log)).lastSeq).toBe(430);
    await fixture.catchUp(projector);
    expect(await store.getQueueStats("mail")).toMatchObject({ succeeded: 430n });
  });

  test("stops below an unfinished job, and below what no database has on its disk", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    for (const id of ids(300)) await fixture.submit(id, { bytes: 1000 });
    await fixture.end(...ids(300).filter((id) => id !== "j200"));
    // Nobody projects: nothing goes, whatever has ended.
    expect((await fixture.bus.streamState(log)).firstSeq).toBe(1);
    await using projector = await fixture.project({ moveAfterMs: 60_000 });
    await fixture.catchUp(projector);
    await expect.poll(async () => (await fixture.bus.streamState(log)).firstSeq, soon).toBe(201);
    await expect.poll(() => projector.status().holds.find((hold) => hold.log === log)?.by, soon).toBe("job");
    await fixture.end("j200");
    await expect.poll(() => projector.status().holds.find((hold) => hold.log === log)?.by, soon).not.toBe("job");
  });

  test("lets go of what waits for its time: its row has all of it", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project();
    for (const id of ids(200)) {
      await fixture.bus.publishDurable(`schedule.normal.mail.send.${id}`, new Uint8Array(1000), [
        ["Millrace-Run-At", "1999999999999"],
      ]);
    }
    await fixture.catchUp(projector);
    await expect.poll(async () => (await fixture.bus.streamState("SCHEDULE")).bytes, soon).toBeLessThan(110_000);
    expect(await store.getJob("j0")).toMatchObject({ dueAtMs: 1_999_999_999_999, job: { state: JobState.SCHEDULED } });
  });

  test("leaves alone what is young", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project({ keepYoungMs: 3_600_000 });
    for (const id of ids(50)) await fixture.submit(id, { bytes: 1000 });
    await fixture.end(...ids(50));
    await fixture.catchUp(projector);
    await expect.poll(() => projector.status().holds.find((hold) => hold.log === log)?.by, soon).toBe("age");
    expect((await fixture.bus.streamState(log)).firstSeq).toBe(1);
  });

  test("moves a job that nobody serves to the end of its log", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project({ moveAfterMs: 500 });
    await fixture.submit("head", { queue: "unserved", bytes: 1000 });
    for (const id of ids(300)) await fixture.submit(id, { bytes: 1000 });
    await fixture.end(...ids(300));
    await fixture.catchUp(projector);
    await expect.poll(async () => (await store.getJob("head"))?.place?.seq, soon).toBeGreaterThan(300);
    await expect.poll(async () => (await fixture.bus.streamState(log)).firstSeq, soon).toBeGreaterThan(200);
    const [moved] = await fixture.pull("unserved", 1);
    expect(moved?.header("Millrace-Id")).toBe("head");
    expect(moved?.header("Millrace-Move")).toBe("1");
    expect(moved?.data).toHaveLength(1000);
    expect(await stateOf("head")).toBe(JobState.QUEUED);
  });

  test("deletes finished jobs singly behind one that somebody has in hand", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project({ moveAfterMs: 300 });
    await fixture.submit("long", { bytes: 1000 });
    await fixture.pull("mail", 1);
    for (const id of ids(300)) await fixture.submit(id, { bytes: 1000 });
    await fixture.end(...ids(300));
    await fixture.catchUp(projector);
    await expect.poll(async () => (await fixture.bus.streamState(log)).bytes, soon).toBeLessThan(110_000);
    expect((await fixture.bus.streamState(log)).firstSeq).toBe(1);
    expect(await stateOf("long")).toBe(JobState.QUEUED);
  });
});

describe("reconciling", () => {
  test("publishes again what was acknowledged without an end, and nothing that has ended", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project();
    for (const id of ["lost", "ended"]) await fixture.submit(id);
    const got = await fixture.pull("mail", 2);
    await fixture.end("ended");
    for (const message of got) fixture.bus.ack(message.reply);
    await fixture.catchUp(projector);
    const [again] = await fixture.pull("mail", 1);
    expect(again?.header("Millrace-Id")).toBe("lost");
    expect(again?.header("Millrace-Move")).toBe("1");
    expect(again?.header("Nats-Msg-Id")).toMatch(/^lost:1:repair:1$/);
    await fixture.catchUp(projector);
    expect(await stateOf("ended")).toBe(JobState.SUCCEEDED);
    expect((await fixture.bus.streamState(log)).lastSeq).toBe(3);
  });

  test(
    "publishes again what was acknowledged without an end behind a job that a worker has in hand",
    { timeout },
    async () => {
      await using fixture = await ProjectorFixture.start(store);
      const { bus } = fixture;
      await bus.kv("workers").put("w1", text(JSON.stringify({ queues: ["mail"], formats: [], startedMs: 1 })));
      let holds: readonly string[] = [];
      using _ = bus.subscribe(commandSubject("w1"), {}, ({ data, reply }) => {
        const { ids: asked } = JSON.parse(new TextDecoder().decode(data)) as { ids: string[] };
        bus.publish(reply, text(JSON.stringify({ holds: asked.filter((id) => holds.includes(id)) })));
      });
      await using projector = await fixture.project();
      for (const id of ["held", "lost", "given-back"]) await fixture.submit(id);
      const got = await fixture.pull("mail", 3);
      bus.ack(got[1]?.reply ?? "");
      await bus.flush();
      await fixture.catchUp(projector);
      // One that is in nobody's hand will be delivered again: the counts differ, and nothing is done.
      holds = ["held"];
      await new Promise((resolve) => setTimeout(resolve, 1000));
      expect((await bus.streamState(log)).lastSeq).toBe(3);
      holds = ["held", "given-back"];
      const [again] = await fixture.pull("mail", 1);
      expect(again?.header("Millrace-Id")).toBe("lost");
      expect((await bus.streamState(log)).lastSeq).toBe(4);
    },
  );

  test("leaves a job to the worker that has it in hand, and to one that does not answer", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    const { bus } = fixture;
    await bus.kv("workers").put("w1", text(JSON.stringify({ queues: ["mail"], formats: [], startedMs: 1 })));
    let asked = 0;
    using _ = bus.subscribe(commandSubject("w1"), {}, ({ data, reply }) => {
      asked++;
      // Deaf at first, then it says what it has.
      const { ids: all } = JSON.parse(new TextDecoder().decode(data)) as { ids: string[] };
      if (asked > 1) bus.publish(reply, text(JSON.stringify({ holds: all.filter((id) => id === "held") })));
    });
    await using projector = await fixture.project();
    for (const id of ["held", "lost"]) await fixture.submit(id);
    for (const message of await fixture.pull("mail", 2)) bus.ack(message.reply);
    await fixture.catchUp(projector);
    const [again] = await fixture.pull("mail", 1);
    expect(asked).toBeGreaterThan(1);
    expect(again?.header("Millrace-Id")).toBe("lost");
    expect((await bus.streamState(log)).lastSeq).toBe(3);
  });

  test("brings back what a log that was made anew does not hold", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    for (const id of ids(20)) await fixture.submit(id);
    await fixture.end("j3");
    {
      await using projector = await fixture.project();
      await fixture.catchUp(projector);
    }
    await fixture.bus.request(`$JS.API.STREAM.DELETE.${log}`, new Uint8Array(0), { timeoutMs: 5000 });
    await fixture.ensureTopology();
    // Under a number that another job had.
    await fixture.submit("new");
    await using projector = await fixture.project();
    const got = await fixture.pull("mail", 20);
    const found = got.map((message) => message.header("Millrace-Id") ?? "new").toSorted();
    expect(found).toEqual([...ids(20).filter((id) => id !== "j3"), "new"].toSorted());
    await fixture.catchUp(projector);
    expect(await store.getQueueStats("mail")).toMatchObject({ queued: 20n, succeeded: 1n });
  });

  test("a purge by a person is told, and repaired when somebody asks for it", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project();
    for (const id of ids(10)) await fixture.submit(id);
    await fixture.catchUp(projector);
    await fixture.bus.request(`$JS.API.STREAM.PURGE.${log}`, text('{"seq":9}'), { timeoutMs: 5000 });
    await expect.poll(() => projector.status().notice, soon).toContain("8 unfinished jobs were removed");
    expect((await fixture.bus.streamState(log)).lastSeq).toBe(10);
    const dry = await fixture.request(repairSubject, { dryRun: true });
    expect(dry).toMatchObject({ ok: true, repaired: 0 });
    expect((dry as { jobs: { id: string }[] }).jobs.map(({ id }) => id).toSorted()).toEqual(ids(8));
    expect((await fixture.bus.streamState(log)).lastSeq).toBe(10);
    expect(await fixture.request(repairSubject, { dryRun: false })).toMatchObject({
      ok: true,
      repaired: 8,
      reason: "",
    });
    expect(await fixture.pull("mail", 10)).toHaveLength(10);
  });

  test("does nothing by itself when events were lost before they were projected", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    {
      await using projector = await fixture.project();
      for (const id of ["a", "b"]) await fixture.submit(id);
      await fixture.catchUp(projector);
    }
    const got = await fixture.pull("mail", 2);
    // Both have ended, and what says so of one is purged before anybody has read it.
    await fixture.end("a");
    const { lastSeq } = await fixture.bus.streamState(eventsStream);
    await fixture.end("b");
    for (const message of got) fixture.bus.ack(message.reply);
    await fixture.bus.request(`$JS.API.STREAM.PURGE.${eventsStream}`, text(`{"seq":${lastSeq + 1}}`), {
      timeoutMs: 5000,
    });
    await using projector = await fixture.project();
    await expect.poll(() => projector.status().notice, soon).toContain("EVENTS has lost");
    await fixture.catchUp(projector);
    expect(await stateOf("b")).toBe(JobState.SUCCEEDED);
    const dry = await fixture.request(repairSubject, { dryRun: true });
    expect(dry).toMatchObject({ jobs: [{ id: "a", why: "acknowledged without an end" }] });
    expect((await fixture.bus.streamState(log)).lastSeq).toBe(2);
  });

  test("an empty database beside old logs is built anew", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    for (const id of ids(5)) await fixture.submit(id);
    await fixture.end("j1");
    await using projector = await fixture.project();
    await fixture.catchUp(projector);
    expect(projector.status()).toMatchObject({ ready: true, notice: "" });
    expect(await store.getQueueStats("mail")).toMatchObject({ queued: 4n, succeeded: 1n });
  });

  test("ends what has events and no submission", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project({ stubMs: 500 });
    await fixture.tell({ jobId: "stub", kind: EventKind.STARTED });
    await fixture.catchUp(projector);
    await expect.poll(() => stateOf("stub"), soon).toBe(JobState.DEAD);
    expect((await store.getJob("stub"))?.job.error).toMatchObject({ code: "SUBMISSION_LOST" });
  });
});

describe("a second message under an id", () => {
  test("is noted on the row, and barred", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project();
    await fixture.submit("a", { priority: "high" });
    await fixture.catchUp(projector);
    await fixture.submit("a");
    await fixture.catchUp(projector);
    const stored = await store.getJob("a");
    expect(stored?.place).toMatchObject({ stream: "JOBS_HIGH", seq: 1 });
    expect(stored?.job.duplicates).toMatchObject([{ place: `${log}/1` }]);
    const key = placeMarkKey(log, 1);
    const bucket = fixture.bus.kv("cancel");
    await expect.poll(async () => (await bucket.get(key)) !== undefined, soon).toBe(true);
    const mark = await bucket.get(key);
    expect(mark && decodePlaceMark(key, mark.value)).toMatchObject({ id: "a" });
  });

  test("is the job once the one before has ended, and was submitted a day ago", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project();
    await fixture.submit("a", { priority: "high" });
    await fixture.catchUp(projector);
    await fixture.end("a");
    await fixture.catchUp(projector);
    const dayAgo = new Date(Date.now() - 24 * 3600_000 - 1000);
    await store.db.updateTable("jobs").set({ submitted_at: dayAgo }).execute();
    await fixture.submit("a");
    await fixture.catchUp(projector);
    const stored = await store.getJob("a");
    expect(stored?.place).toMatchObject({ stream: log, seq: 1 });
    expect(stored?.job).toMatchObject({ state: JobState.QUEUED, duplicates: [] });
    expect(await fixture.bus.kv("cancel").get(placeMarkKey(log, 1))).toBeUndefined();
    await fixture.end("a");
    await expect.poll(() => stateOf("a"), soon).toBe(JobState.SUCCEEDED);
  });
});

describe("who asks for rows", () => {
  test("hears of them once they are as far as asked for", { timeout }, async () => {
    await using fixture = await ProjectorFixture.start(store);
    await using projector = await fixture.project();
    await fixture.submit("a");
    await fixture.catchUp(projector);
    await fixture.end("a");
    const standing = { id: "a", state: JobState.SUCCEEDED, stream: log, seq: 1 };
    const answer = await fixture.request(rowsSubject, { ids: ["a", "none"], waitMs: 10_000 });
    expect(answer).toMatchObject({ ready: true, rows: [standing] });
    const never = await fixture.request(rowsSubject, { ids: ["a"], after: { [log]: 99 }, waitMs: 50 });
    expect(never).toEqual({ ready: false, rows: [] });
  });
});
