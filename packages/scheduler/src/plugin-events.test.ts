import { create, toJsonString } from "@bufbuild/protobuf";
import { startProjector } from "@millrace/projector";
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
  install,
  publishBatch,
  silent,
  start,
  openTestStore,
  startSchedulerFixture,
  takeJobs,
} from "./scheduler-fixture.ts";
import type { SchedulerFixture } from "./scheduler-fixture.ts";

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
  await fixture.bus.publishDurable("jobs.high.mail.send.j1", encoder.encode("{}"));
  await publishBatch(fixture.bus, [
    { jobId: "j1", kind: EventKind.STARTED },
    { jobId: "p1", kind: EventKind.SUCCEEDED, queue: "plugin-events" },
    { jobId: "p2", kind: EventKind.SUCCEEDED, queue: "plugin-tasks" },
    { jobId: "j1", kind: EventKind.SUCCEEDED },
  ]);
  const seen: unknown[] = [];
  for (let n = 0; n < 3; n++) {
    const { event, end } = await next();
    seen.push([event.id, event.name, event.source]);
    if (n === 2) expect(toJsonString(PlatformEventSchema, event)).toContain('"queue":"mail"');
    end();
  }
  expect(seen).toEqual([
    ["j1-1-submitted", "job.submitted", "control"],
    ["j1-1-started", "job.started", "w1"],
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
    fixture.stack.use(await startProjector({}, { bus: fixture.bus, store: fixture.store, logger: silent }));
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
    await running.record();
    running.end();
    await start(fixture);
    await install(fixture.bus, "p", { events: hears("user.*") });
    const last = await next();
    expect([running.event.id, last.event.id]).toEqual(["b", "c"]);
    last.end();
  },
);

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
