import { decodeJson, EventKind, headerNames, type WorkerRecord } from "@millrace/protocol";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

let world: WorkerFixture;
beforeAll(async () => {
  world = await WorkerFixture.start();
});
afterAll(() => world[Symbol.asyncDispose]());

const machineNow = Date.now;
afterEach(() => {
  Date.now = machineNow;
});

const options = (queue: string) => ({ queues: [queue], natsUrl: world.nats.url, drainTimeoutMs: 1000 });

test("a worker is seen while it lives, with what it serves", async () => {
  const worker = await startWorker({ ...options("seen"), id: "seen-1", handlers: { t: () => "ran" } });
  const entry = await world.bus.kv("workers").get("seen-1");
  const record = decodeJson<WorkerRecord>(entry?.value ?? new Uint8Array(0));
  expect(record).toMatchObject({ queues: ["seen"], formats: [] });
  expect(Math.abs((record.startedMs ?? 0) - Date.now())).toBeLessThan(5000);
  await worker[Symbol.asyncDispose]();
  expect(await world.bus.kv("workers").get("seen-1")).toBeUndefined();
});

test("what a worker has in hand it says at once, also while it drains", async () => {
  const gate = Promise.withResolvers<void>();
  const worker = await startWorker({ ...options("drains"), drainTimeoutMs: 5000, handlers: { t: () => gate.promise } });
  await world.submit("normal", "drains", "t", "drains-1");
  await expect.poll(() => worker.status().running).toBe(1);
  const drained = world.bus.request(`cmd.worker.${worker.id}`, new TextEncoder().encode('{"command":"drain"}'), {
    timeoutMs: 10_000,
  });
  await expect.poll(() => worker.status().mode).toBe("draining");
  expect(await world.command(worker.id, { command: "holds", ids: ["drains-1"] })).toEqual({ holds: ["drains-1"] });
  gate.resolve();
  await drained;
  expect(await world.command(worker.id, { command: "holds", ids: ["drains-1"] })).toEqual({ holds: [] });
  await worker[Symbol.asyncDispose]();
});

test.each([600_000, -600_000])(
  "on a machine whose clock is off by %d ms, times are the broker's",
  async (offMs) => {
    const queue = offMs > 0 ? "ahead" : "behind";
    const warnings: string[] = [];
    const logger = { debug() {}, info() {}, error() {}, warn: (_: object, text: string) => void warnings.push(text) };
    Date.now = () => machineNow() + offMs;
    const ranMs: number[] = [];
    await using worker = await startWorker({
      ...options(queue),
      logger,
      handlers: {
        t: () => void ranMs.push(machineNow()),
        fails: () => Promise.reject(new Error("no")),
      },
    });
    expect(Math.abs(worker.status().clockSkewMs - offMs)).toBeLessThan(500);
    expect(warnings.filter((text) => text.includes("clock"))).toHaveLength(1);

    const runAtMs = machineNow() + 700;
    await world.submit("normal", queue, "t", `${queue}-1`, "", [
      [headerNames.runAt, String(runAtMs)],
      [headerNames.deadline, String(machineNow() + 60_000)],
    ]);
    const ended = await world.end(`${queue}-1`);
    expect(ended.kind).toBe(EventKind.SUCCEEDED);
    expect(ranMs[0]).toBeGreaterThan(runAtMs - 100);
    expect(Math.abs(ended.atMs - machineNow())).toBeLessThan(2000);
    await world.submit("normal", queue, "t", `${queue}-2`, "", [[headerNames.deadline, String(machineNow() - 2000)]]);
    expect(await world.end(`${queue}-2`)).toMatchObject({ kind: EventKind.EXPIRED });

    await world.submit("normal", queue, "fails", `${queue}-3`, "", [
      [headerNames.backoff, "fixed;base=60000;jitter=0"],
    ]);
    const retried = await world.event(`${queue}-3`, EventKind.RETRIED);
    // Acked when the schedule has it.
    await expect.poll(() => world.open("normal", queue)).toBe(0);
    const [later] = await world.stored("SCHEDULE", `schedule.normal.${queue}.*.*`);
    expect(Number(later?.header(headerNames.runAt))).toBe(retried.nextRunAtMs);
    expect(Math.abs(retried.nextRunAtMs - machineNow() - 60_000)).toBeLessThan(3000);
  },
  20_000,
);

test("a job of an unknown format is neither run nor acked, and shown", async () => {
  const warnings: object[] = [];
  const logger = { debug() {}, info() {}, error() {}, warn: (fields: object) => void warnings.push(fields) };
  let runs = 0;
  await using worker = await startWorker({ ...options("format"), logger, handlers: { t: () => void runs++ } });
  for (const n of [1, 2])
    await world.submit("normal", "format", "t", `format-${n}`, "", [["Millrace-Format", "pack;64"]]);
  await world.submit("normal", "format", "t", "format-3");
  await world.end("format-3");
  await expect.poll(() => worker.status()).toMatchObject({ unknownFormats: { "pack;64": 2 }, held: 0, settled: 1 });
  expect(warnings).toEqual([{ queue: "format", format: "pack;64" }]);
  expect(runs).toBe(1);
  await expect.poll(() => world.open("normal", "format")).toBe(2);
});

test("a worker is seen again as soon as a broker that was killed is back", async () => {
  await using other = await WorkerFixture.start();
  await using _worker = await startWorker({
    queues: ["q"],
    natsUrl: other.nats.url,
    id: "back-1",
    handlers: { t: () => "ran" },
  });
  const revision = (await other.bus.kv("workers").get("back-1"))?.revision ?? 0;
  await other.nats.kill9();
  await other.nats.restart();
  await other.bus.whenConnected();
  const now = async () =>
    (
      await other.bus
        .kv("workers")
        .get("back-1")
        .catch(() => undefined)
    )?.revision ?? 0;
  await expect.poll(now, { timeout: 5000 }).toBeGreaterThan(revision);
}, 20_000);
