import { EventKind } from "@millrace/protocol";
import { expect, test } from "vitest";
import { startWorker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

test("a broker killed and restarted under load loses nothing that was accepted", async () => {
  await using world = await WorkerFixture.start();
  await using worker = await startWorker({
    queues: ["q"],
    natsUrl: world.nats.url,
    slots: 8,
    ackWaitMs: 2000,
    handlers: { t: () => new Promise<void>((resolve) => setTimeout(resolve, 5)) },
  });
  const ids = Array.from({ length: 600 }, (_, i) => `job-${i}`);
  const data = new Uint8Array(100);
  await world.bus.publisher().publishMany(ids.map((id) => ({ subject: `jobs.normal.q.t.${id}`, data })));
  await expect.poll(() => worker.status().settled).toBeGreaterThan(100);
  await world.nats.kill9();
  await world.nats.restart();
  const ended = (): number =>
    new Set(world.events.filter((e) => e.kind === EventKind.SUCCEEDED).map((e) => e.jobId)).size;
  await expect.poll(ended, { timeout: 25_000 }).toBe(600);
  await expect.poll(() => worker.status().held, { timeout: 5000 }).toBe(0);
  expect(worker.health().ok).toBe(true);
}, 40_000);
