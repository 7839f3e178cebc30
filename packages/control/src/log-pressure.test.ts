import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import type { MillraceError } from "@millrace/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { LogPressure } from "./log-pressure.ts";

const logBytes = 1 << 20;
let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology({
    limits: { jobStreamBytes: logBytes, scheduleStreamBytes: logBytes, eventsBytes: logBytes },
  });
});

afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

/** Up to this share of the log. */
async function fill(log: string, subject: string, share: number): Promise<void> {
  const { bytes } = await bus.streamState(log);
  for (let left = share * logBytes - bytes; left > 0; left -= 10_000) {
    await bus.publishDurable(subject, new Uint8Array(Math.min(left, 10_000) - 150 > 0 ? 9_850 : 1));
  }
}

function refusalOf(pressure: LogPressure, log?: string): string {
  try {
    pressure.admit(log);
    return "";
  } catch (error) {
    expect((error as MillraceError).code).toBe("unavailable");
    return (error as MillraceError).message;
  }
}

it("sounds an alarm before a log is full, refuses new jobs for that log when it nearly is, and for all when EVENTS is", async () => {
  await using pressure = new LogPressure(bus, 20);
  await fill("JOBS_LOW", "jobs.low.default.t", 0.72);
  await expect
    .poll(() => pressure.alarm, { timeout: 5000 })
    .toMatch(/^log JOBS_LOW is filling up: 7\d % of 1048576 bytes$/);
  expect([pressure.reason, refusalOf(pressure, "JOBS_LOW")]).toEqual(["", ""]);
  await fill("JOBS_LOW", "jobs.low.default.t", 0.87);
  await expect
    .poll(() => pressure.reason, { timeout: 5000 })
    .toMatch(/^log JOBS_LOW is nearly full: 8\d % of 1048576 bytes$/);
  expect(pressure.alarm).toBe("");
  expect(refusalOf(pressure, "JOBS_LOW")).toBe(pressure.reason);
  expect([refusalOf(pressure, "JOBS_HIGH"), refusalOf(pressure)]).toEqual(["", ""]);
  await fill("EVENTS", "events.app.x", 0.87);
  await expect.poll(() => refusalOf(pressure), { timeout: 5000 }).toContain("log EVENTS is nearly full");
  expect(refusalOf(pressure, "JOBS_HIGH")).toContain("log EVENTS is nearly full");
  // Room again, as the projector makes it.
  const { lastSeq } = await bus.streamState("JOBS_LOW");
  await bus.upkeep.purgeBelow("JOBS_LOW", lastSeq);
  await expect.poll(() => pressure.reason, { timeout: 5000 }).not.toContain("JOBS_LOW");
});
