import { fromBinary } from "@bufbuild/protobuf";
import { EventBatchSchema, EventKind, eventsStream, subjectRoots, type JobEvent } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { MillraceError } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTestStore, ProjectorFixture, type TestStore, text } from "./projector-fixture.ts";

const timeout = 60_000;
let opened: TestStore;
let store: Store;

beforeAll(async () => {
  opened = await openTestStore();
  ({ store } = opened);
}, timeout);
afterAll(() => opened[Symbol.asyncDispose](), timeout);

/** Every announcement in EVENTS, as watchers and plugins get it. */
async function announced({ bus }: ProjectorFixture): Promise<JobEvent[]> {
  const found: JobEvent[] = [];
  const { lastSeq } = await bus.streamState(eventsStream);
  if (lastSeq === 0) return found;
  const { promise, resolve } = Promise.withResolvers<void>();
  await using _ = bus.readStream({
    stream: eventsStream,
    filter: `${subjectRoots.submitted}.>`,
    start: "first",
    onBatch: (messages) => {
      for (const { data } of messages) found.push(...fromBinary(EventBatchSchema, data).events);
    },
    onCaughtUp: resolve,
  });
  await promise;
  return found;
}

test("every job is announced once, with whose it is, whenever the projector dies", { timeout }, async () => {
  await using fixture = await ProjectorFixture.start(store);
  const { bus } = fixture;
  const ids = Array.from({ length: 600 }, (_, i) => `j${i}`);
  const publishing = (async () => {
    for (const id of ids) await fixture.submit(id, { priority: id.endsWith("7") ? "high" : "normal" });
  })();
  for (let lives = 0; lives < 5; lives++) {
    await using projector = await fixture.project();
    await expect.poll(() => projector.status().role, { timeout: 15_000 }).toBe("leading");
    await expect.poll(async () => (await announced(fixture)).length, { timeout: 15_000 }).toBeGreaterThan(lives * 20);
  }
  await publishing;
  await bus.publishDurable("jobs.low.mail.send.mine.ada", text(""), [["Millrace-Correlation-Id", "c1"]]);
  await bus.publishDurable("schedule.low.mail.send.later", text(""), [["Millrace-Run-At", "1999999999999"]]);
  await using projector = await fixture.project();
  await fixture.catchUp(projector);
  await expect.poll(async () => (await announced(fixture)).length, { timeout: 15_000 }).toBe(ids.length + 2);
  const events = await announced(fixture);
  expect(events.map(({ jobId }) => jobId).toSorted()).toEqual([...ids, "mine", "later"].toSorted());
  expect(events.find(({ jobId }) => jobId === "mine")).toMatchObject({
    kind: EventKind.SUBMITTED,
    owner: "ada",
    correlationId: "c1",
    run: 1,
    attempt: 1,
  });
  expect(events.find(({ jobId }) => jobId === "later")).toMatchObject({
    kind: EventKind.SCHEDULED,
    nextRunAtMs: 1_999_999_999_999,
  });
});

test("what was announced before a log was made anew keeps nothing from being told", { timeout }, async () => {
  await using fixture = await ProjectorFixture.start(store);
  for (const id of ["a", "b", "c"]) await fixture.submit(id);
  {
    await using projector = await fixture.project();
    await fixture.catchUp(projector);
    await expect.poll(async () => (await announced(fixture)).length, { timeout: 10_000 }).toBe(3);
  }
  await fixture.bus.request("$JS.API.STREAM.DELETE.JOBS_NORMAL", new Uint8Array(0), { timeoutMs: 5000 });
  await fixture.ensureTopology();
  await fixture.submit("d");
  await using projector = await fixture.project({ reconcileEveryMs: 60_000 });
  await fixture.catchUp(projector);
  await expect
    .poll(async () => (await announced(fixture)).map(({ jobId }) => jobId), { timeout: 10_000 })
    .toEqual(["a", "b", "c", "d"]);
});

test("while the database is away jobs are announced all the same, and once", { timeout }, async () => {
  await using fixture = await ProjectorFixture.start(store);
  let away = true;
  const gone = (): Promise<never> => Promise.reject(new MillraceError("unavailable", "the database cannot be reached"));
  // The real one, behind a wall that can be taken away.
  const walled = new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return away ? gone : value.bind(target);
    },
  });
  await using projector = await fixture.project({}, { store: walled });
  for (const id of ["a", "b"]) await fixture.submit(id);
  await expect.poll(async () => (await announced(fixture)).length, { timeout: 15_000 }).toBe(2);
  expect(projector.status()).toMatchObject({ ready: false, reason: "the database cannot be reached" });
  away = false;
  await fixture.submit("c");
  await expect.poll(async () => (await store.getQueueStats("mail"))?.queued, { timeout: 15_000 }).toBe(3n);
  await expect
    .poll(async () => (await announced(fixture)).map(({ jobId }) => jobId), { timeout: 10_000 })
    .toEqual(["a", "b", "c"]);
});
