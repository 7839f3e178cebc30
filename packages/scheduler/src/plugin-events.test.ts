import { create, toJsonString } from "@bufbuild/protobuf";
import {
  EventKind,
  headerNames,
  JobState,
  PlatformEventSchema,
  platformEventSubject,
  PluginSchema,
  PluginState,
  type PluginManifest,
} from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  announce,
  install,
  publishBatch,
  recordEnd,
  silent,
  start,
  openTestStore,
  startSchedulerFixture,
  takeJobs,
} from "./scheduler-fixture.ts";
import type { SchedulerFixture } from "./scheduler-fixture.ts";
import { startScheduler } from "./start-scheduler.ts";

const encoder = new TextEncoder();
const setUpMs = 60_000;

let store: Store;
let fixture: SchedulerFixture;
beforeAll(async () => {
  store = await openTestStore();
}, setUpMs);
afterAll(() => store[Symbol.asyncDispose](), setUpMs);
beforeEach(async () => {
  fixture = await startSchedulerFixture(store);
}, setUpMs);
afterEach(() => fixture[Symbol.asyncDispose](), setUpMs);

function hears(pattern: string, exportName = "hear"): PluginManifest["events"] {
  return create(PluginSchema, { manifest: { events: [{ pattern, export: exportName }] } }).manifest?.events ?? [];
}

/** Resolves when the plugin's cursor is there: it hears of what comes from here on. */
async function listening(name: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using watch = fixture.bus.kv("eventCursors").watch({ keys: `cursor.${name}`, onEntry: () => resolve() });
  void watch;
  await promise;
}

async function purgeEventsBelow(seq: number): Promise<void> {
  const body = encoder.encode(JSON.stringify({ seq }));
  await fixture.bus.request("$JS.API.STREAM.PURGE.EVENTS", body, { timeoutMs: 5000 });
}

let count = 0;
function publish(name: string, id = `e${count++}`) {
  const event = create(PlatformEventSchema, { id, name, source: "test" });
  const data = encoder.encode(toJsonString(PlatformEventSchema, event));
  return fixture.bus.publishDurable(platformEventSubject(name), data, [[headerNames.messageId, `event:${id}`]]);
}

test("a plugin hears of what it asks for, in order and one at a time", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-events");
  await start(fixture);
  await install(fixture.bus, "greeter", { events: hears("user.*") });
  await listening("greeter");
  await publish("user.login", "a");
  await publish("audit.change", "x");
  await publish("user.login", "b");
  await publish("user.logout.forced", "y");
  await publish("user.logout", "c");
  const first = await next();
  expect(first).toMatchObject({ plugin: "greeter", tags: "export:hear,event:user.login", event: { id: "a" } });
  expect(first.id).toMatch(/^_a-[0-9a-f]{12}$/);
  const second = next();
  // Nothing follows as long as the first has not ended.
  await publish("user.login", "d");
  await fixture.bus.flush();
  expect((await fixture.bus.streamState("JOBS_NORMAL")).messages).toBe(1);
  first.end(JobState.DEAD);
  const seen = [(await second).event.id];
  (await second).end();
  for (let n = 0; n < 2; n++) {
    const taken = await next();
    seen.push(taken.event.id);
    taken.end();
  }
  expect(seen).toEqual(["b", "c", "d"]);
});

test("events of jobs are offered, but not those of plugins' own jobs", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-events");
  await start(fixture);
  await install(fixture.bus, "watcher", { events: hears("job.*") });
  await listening("watcher");
  await fixture.bus.publishDurable("events.submitted.high.mail.send.former", encoder.encode("{}"));
  await announce(fixture.bus, "JOBS_HIGH", [
    { jobId: "j1", kind: EventKind.SUBMITTED },
    { jobId: "p1", kind: EventKind.SUBMITTED, queue: "plugin-events" },
    { jobId: "j2", kind: EventKind.SUBMITTED, attempt: 2 },
    { jobId: "j3", kind: EventKind.SUBMITTED, run: 2 },
  ]);
  // By a projector that did not know what the one before had announced.
  await announce(fixture.bus, "JOBS_HIGH", [{ jobId: "j1", kind: EventKind.SUBMITTED }]);
  await announce(fixture.bus, "SCHEDULE", [{ jobId: "j4", kind: EventKind.SCHEDULED }]);
  await publishBatch(fixture.bus, [
    { jobId: "j1", kind: EventKind.STARTED },
    { jobId: "j3", kind: EventKind.STARTED, run: 2 },
    { jobId: "p1", kind: EventKind.SUCCEEDED, queue: "plugin-events" },
    { jobId: "p2", kind: EventKind.SUCCEEDED, queue: "plugin-tasks" },
    { jobId: "j1", kind: EventKind.SUCCEEDED },
  ]);
  const seen: unknown[] = [];
  for (let n = 0; n < 5; n++) {
    const { event, end } = await next();
    seen.push([event.id, event.name, event.source]);
    if (n === 4) expect(toJsonString(PlatformEventSchema, event)).toContain('"queue":"mail"');
    end();
  }
  expect(seen).toEqual([
    ["j1-1-submitted", "job.submitted", "projector"],
    ["j4-1-scheduled", "job.scheduled", "projector"],
    ["j1-1-started", "job.started", "w1"],
    ["j3-1r2-started", "job.started", "w1"],
    ["j1-1-succeeded", "job.succeeded", "w1"],
  ]);
});

test(
  "two handlers of one plugin each hear of it; another plugin has a line of its own",
  { timeout: 60_000 },
  async () => {
    const next = await takeJobs(fixture.bus, "plugin-events");
    await start(fixture);
    await install(fixture.bus, "both", { events: [...hears("user.*", "one"), ...hears(">", "two")] });
    await install(fixture.bus, "other", { events: hears("user.login", "three") });
    await Promise.all([listening("both"), listening("other")]);
    await publish("user.login", "a");
    const first = [await next(), await next()].toSorted((x, y) => (x.plugin < y.plugin ? -1 : 1));
    expect(first.map(({ plugin, tags }) => [plugin, tags])).toEqual([
      ["both", "export:one,event:user.login"],
      ["other", "export:three,event:user.login"],
    ]);
    for (const taken of first) taken.end();
    const second = await next();
    expect([second.plugin, second.event.id]).toEqual(["both", "a"]);
    expect(second.id).not.toBe(first[0]?.id);
    second.end();
  },
);

test(
  "what happened while no scheduler ran, or the plugin was off, is delivered later",
  { timeout: 60_000 },
  async () => {
    const next = await takeJobs(fixture.bus, "plugin-events");
    const scheduler = await start(fixture);
    await install(fixture.bus, "p", { events: hears("user.*") });
    await listening("p");
    await publish("user.login", "a");
    (await next()).end();
    await publish("user.login", "b");
    const running = await next();
    await scheduler[Symbol.asyncDispose]();
    await publish("user.login", "c");
    await install(fixture.bus, "p", { events: hears("user.*") }, PluginState.RESOLVED);
    // Ends while nobody listens for it: its row tells.
    await recordEnd(store, running.id);
    running.end();
    await start(fixture);
    await install(fixture.bus, "p", { events: hears("user.*") });
    const last = await next();
    expect([running.event.id, last.event.id]).toEqual(["b", "c"]);
    last.end();
  },
);

test("an announcement that comes again after a restart is delivered once", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-events");
  const scheduler = await start(fixture);
  await install(fixture.bus, "once", { events: hears("job.submitted") });
  await listening("once");
  await announce(fixture.bus, "JOBS_HIGH", [{ jobId: "once1", kind: EventKind.SUBMITTED }]);
  await announce(fixture.bus, "JOBS_HIGH", [{ jobId: "once2", kind: EventKind.SUBMITTED }]);
  for (const id of ["once1-1-submitted", "once2-1-submitted"]) {
    const taken = await next();
    expect(taken.event.id).toBe(id);
    await recordEnd(store, taken.id);
    taken.end();
  }
  await scheduler[Symbol.asyncDispose]();
  await announce(fixture.bus, "JOBS_HIGH", [
    { jobId: "once1", kind: EventKind.SUBMITTED },
    { jobId: "once2", kind: EventKind.SUBMITTED },
    { jobId: "once3", kind: EventKind.SUBMITTED },
  ]);
  await start(fixture);
  const last = await next();
  expect(last.event.id).toBe("once3-1-submitted");
  last.end();
});

test("a plugin that hears of no jobs is not behind because of them", { timeout: 60_000 }, async () => {
  await start(fixture);
  await install(fixture.bus, "quiet", { events: hears("user.*") });
  await listening("quiet");
  await install(fixture.bus, "quiet", { events: hears("user.*") }, PluginState.RESOLVED);
  await publishBatch(fixture.bus, [{ jobId: "j1", kind: EventKind.STARTED }]);
  const { lastSeq } = await fixture.bus.streamState("EVENTS");
  const caughtUp = Promise.withResolvers<void>();
  await using watch = fixture.bus.kv("eventCursors").watch({
    keys: "cursor.quiet",
    onEntry: (_, entry) => {
      const { seq } = JSON.parse(new TextDecoder().decode(entry?.value)) as { seq: number };
      if (seq === lastSeq) caughtUp.resolve();
    },
  });
  void watch;
  await install(fixture.bus, "quiet", { events: hears("user.*") });
  await caughtUp.promise;
});

test("what was gone before a plugin was offered it is counted", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-events");
  let missed = 0;
  const metrics = { missed: (_: string, count: number) => void (missed += count) };
  const first = await start(fixture);
  await install(fixture.bus, "late", { events: hears("job.dead") });
  await listening("late");
  await first[Symbol.asyncDispose]();
  for (const jobId of ["l1", "l2", "l3"]) await publishBatch(fixture.bus, [{ jobId, kind: EventKind.DEAD }]);
  const { lastSeq } = await fixture.bus.streamState("EVENTS");
  // As a trim does.
  await purgeEventsBelow(lastSeq);
  fixture.stack.use(await startScheduler({}, { bus: fixture.bus, store, logger: silent, metrics }));
  const taken = await next();
  expect([taken.event.id, missed]).toEqual(["l3-1-dead", 2]);
  taken.end();
});

test("delivery goes on after the broker was away", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-events");
  await start(fixture);
  await install(fixture.bus, "steady", { events: hears("user.*") });
  await listening("steady");
  await publish("user.login", "a");
  (await next()).end();
  await fixture.nats.restart();
  await publish("user.login", "b");
  const taken = await next();
  expect(taken.event.id).toBe("b");
  taken.end();
});
