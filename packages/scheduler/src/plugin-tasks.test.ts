import { create } from "@bufbuild/protobuf";
import { PluginSchema, PluginState, type PluginManifest } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import {
  install,
  start,
  openTestStore,
  startSchedulerFixture,
  takeJobs,
  type SchedulerFixture,
} from "./scheduler-fixture.ts";

const setUpMs = 60_000;
const minuteMs = 60_000;

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

function tasks(...all: { name: string; cron: string; timeZone?: string }[]): PluginManifest["schedules"] {
  const schedules = all.map((task) => ({ export: "run", ...task }));
  return create(PluginSchema, { manifest: { schedules } }).manifest?.schedules ?? [];
}

function ranLast(task: string, atMs: number): Promise<number> {
  return fixture.bus.kv("eventCursors").put(`task.${task}`, new TextEncoder().encode(String(atMs)));
}

test("each tick is one job, however many schedulers there are", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-tasks");
  await start(fixture);
  await start(fixture);
  await install(fixture.bus, "clock", { schedules: tasks({ name: "beat", cron: "* * * * * *" }) });
  const seconds: number[] = [];
  for (let n = 0; n < 3; n++) {
    const { id, plugin, tags, end } = await next();
    expect([plugin, tags]).toEqual(["clock", "export:run,task:beat"]);
    seconds.push(Number(/^_clock-beat-(\d+)$/.exec(id)?.[1]));
    end();
  }
  const [first = 0] = seconds;
  expect(seconds).toEqual([first, first + 1, first + 2]);
  await install(
    fixture.bus,
    "clock",
    { schedules: tasks({ name: "beat", cron: "* * * * * *" }) },
    PluginState.RESOLVED,
  );
});

test("the latest tick that was missed is made up for once, when it is young enough", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-tasks");
  const nowMs = Date.now();
  const old = new Date(nowMs - 90 * minuteMs);
  await ranLast("p.old", nowMs - 24 * 60 * minuteMs);
  await ranLast("p.young", nowMs - 30 * minuteMs);
  await install(fixture.bus, "p", {
    schedules: tasks(
      { name: "old", cron: `${old.getUTCMinutes()} ${old.getUTCHours()} * * *` },
      { name: "broken", cron: "every day at noon" },
      { name: "never", cron: "0 0 31 2 *" },
      { name: "nowhere", cron: "* * * * *", timeZone: "Mars/Olympus" },
      { name: "young", cron: "*/5 * * * *" },
    ),
  });
  await start(fixture);
  const { id, end } = await next();
  const tickMs = Number(/^_p-young-(\d+)$/.exec(id)?.[1]) * 1000;
  expect(tickMs % (5 * minuteMs)).toBe(0);
  expect(Math.abs(nowMs - tickMs)).toBeLessThan(5 * minuteMs + 10_000);
  expect((await fixture.bus.streamState("JOBS_NORMAL")).messages).toBe(1);
  end();
});

test("time zones count", { timeout: 60_000 }, async () => {
  const next = await takeJobs(fixture.bus, "plugin-tasks");
  // Half past the hour in India is on the hour elsewhere: the latest such tick differs by thirty minutes.
  const nowMs = Date.now();
  await ranLast("z.india", nowMs - 120 * minuteMs);
  await install(fixture.bus, "z", { schedules: tasks({ name: "india", cron: "0 * * * *", timeZone: "Asia/Kolkata" }) });
  await start(fixture);
  const { id, end } = await next();
  expect((Number(id.slice("_z-india-".length)) / 60) % 60).toBe(30);
  end();
});
