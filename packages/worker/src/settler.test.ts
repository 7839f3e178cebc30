import { setTimeout as delay } from "node:timers/promises";
import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { EventKind } from "@millrace/protocol";
import { expect, test } from "vitest";
import { startedEvent } from "./job-events.ts";
import { Settler } from "./settler.ts";

/** More than a retry takes. */
const retriedMs = 1500;

test("a settler that is stopped tries nothing again", { timeout: 60_000 }, async () => {
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "settler" });
  await bus.ensureTopology();
  const troubles: unknown[] = [];
  const settler = new Settler({
    bus,
    source: "w1",
    idle: () => true,
    startedEvent,
    onSettled: () => undefined,
    onTrouble: (error) => void troubles.push(error),
  });
  nats.freeze();
  settler.note({
    jobId: "a",
    kind: EventKind.PARKED,
    run: 1,
    attempt: 1,
    move: 0,
    queue: "q",
    type: "t",
    priority: 3,
    atMs: Date.now(),
  });
  const flushed = settler.flush();
  const stopped = settler[Symbol.asyncDispose]();
  // What waits in the publisher fails.
  await bus[Symbol.asyncDispose]();
  await stopped;
  expect(troubles).toHaveLength(1);
  await delay(retriedMs);
  expect(troubles).toHaveLength(1);
  // Nobody waits for what will never be.
  await flushed;
});
