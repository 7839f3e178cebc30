import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { expect, it } from "vitest";

const jobs = 20_000;
const kills = 3;

/** Pulls and acks until told to stop; remembers every job it saw. */
function startWorker(bus: Bus, seen: Map<string, number>): { stop: () => void; ended: Promise<void> } {
  let stopped = false;
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const next = (): void => {
    if (stopped) return resolve();
    bus.pull(
      "JOBS_HIGH",
      "w_load",
      { batch: 200, expiresMs: 1000, noWait: true },
      {
        onMessage: (message) => {
          const id = message.subject.slice(message.subject.lastIndexOf(".") + 1);
          seen.set(id, (seen.get(id) ?? 0) + 1);
          bus.ack(message.reply);
        },
        onEnd: (end) => {
          if (end.reason === "disconnected") void bus.whenConnected().then(next, () => resolve());
          else next();
        },
      },
    );
  };
  next();
  return { stop: () => (stopped = true), ended };
}

it(
  "runs every accepted job although the broker is killed again and again, and leaves no zombie",
  { timeout: 120_000 },
  async () => {
    await using nats = await startTestNats();
    await using bus = await connectBus({ servers: nats.url, name: "load" });
    await bus.ensureTopology();
    await bus.ensureQueueConsumers("load", { ackWaitMs: 2000 });
    const seen = new Map<string, number>();
    const worker = startWorker(bus, seen);
    await using publisher = bus.publisher({ windowMessages: 1000 });
    const accepted = new Set<string>();
    for (let round = 0; round < kills; round++) {
      function* batch() {
        for (let i = 0; i < jobs / kills; i++)
          yield { subject: `jobs.high.load.t.r${round}-${i}`, data: new Uint8Array(64) };
      }
      let crashed: Promise<void> | undefined;
      const summary = await publisher.publishMany(batch(), (index, error) => {
        if (error === undefined) accepted.add(`r${round}-${index}`);
        if (index === Math.floor(jobs / kills / 2)) crashed = nats.kill9().then(() => nats.restart());
      });
      expect(summary.failed).toBe(0);
      await crashed;
      await bus.whenConnected();
      await bus.sweepZombies({ serverStartedMs: nats.startedMs });
    }
    // Until every lease that died with an ack was delivered again: pending work is what the broker says it is.
    for (;;) {
      const state = await bus.consumerState("JOBS_HIGH", "w_load");
      if (state.pending === 0 && state.ackPending === 0) break;
    }
    await bus.sweepZombies({ serverStartedMs: nats.startedMs });
    worker.stop();
    await worker.ended;
    const lost = [...accepted].filter((id) => !seen.has(id));
    expect(lost).toEqual([]);
    expect((await bus.streamState("JOBS_HIGH")).messages).toBe(0);
  },
);
