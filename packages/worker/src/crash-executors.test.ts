import type { Health } from "@millrace/actor";
import { EventKind, headerNames } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fixturesModule, PluginFixture } from "./plugin-fixture.ts";
import { startWorker, type Worker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

let world: WorkerFixture;
let worker: Worker;
beforeAll(async () => {
  world = await WorkerFixture.start();
  worker = await startWorker({
    queues: ["default"],
    natsUrl: world.nats.url,
    executors: 1,
    executorKind: "process",
    crashLimit: 2,
    drainTimeoutMs: 2000,
  });
  const limits = { timeoutMs: 60_000, fuel: 1_000_000_000_000_000n };
  const handlers = ["noop", "spin"].map((name) => ({ type: name, export: name }));
  const manifest = { name: "fixtures", version: "1.0.0", handlers, limits };
  await new PluginFixture(world).install(await fixturesModule(), { manifest });
});
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

/** Of the executor that jobs run in. */
function executorPid(): number {
  const find = (health: Health): Health | undefined =>
    health.path.endsWith("executor-1") ? health : health.children.map(find).find((found) => found !== undefined);
  return Number(/process (\d+)/.exec(find(worker.health())?.detail ?? "")?.[1]);
}

test("a job that takes down its executor so often is given up, and its neighbours run", async () => {
  const backoff: [string, string] = [headerNames.backoff, "fixed;base=1;jitter=0"];
  await world.submit("normal", "default", "spin", "crash-1", "", [[headerNames.maxAttempts, "50"], backoff]);
  for (const attempt of [1, 2]) {
    await expect
      .poll(() => world.events.some((e) => e.kind === EventKind.STARTED && e.attempt === attempt), { timeout: 5000 })
      .toBe(true);
    if (attempt === 1) await world.submit("normal", "default", "noop", "beside-1", "x");
    process.kill(executorPid(), "SIGKILL");
  }
  const event = await world.end("crash-1");
  expect(event).toMatchObject({ kind: EventKind.DEAD, errorCode: "CRASHED", attempt: 2, plugin: "fixtures@1.0.0" });
  expect(event.errorMessage).toContain("2 times");
  expect(await world.end("beside-1")).toMatchObject({ kind: EventKind.SUCCEEDED, attempt: 1 });
});
