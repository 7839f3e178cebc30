import { connectBus } from "@millrace/bus";
import { jobStream, priorityNames } from "@millrace/protocol";
import { it } from "vitest";
import { startFaultSystem } from "../lib/fault-system.ts";
import { publishLoad } from "../lib/publish-load.ts";
import { startFaultWorker } from "../lib/start-fault-worker.ts";
process.env["MILLRACE_LOG_LEVEL"] = "info";
it("tmp", async () => {
  const t0 = Date.now();
  const say = (...a: unknown[]) => console.log(Date.now() - t0, ...a);
  await using system = await startFaultSystem();
  const { nats } = system;
  say("system");
  await using w = await startFaultWorker({ natsUrl: system.natsUrl, queue: "q" });
  await using bus = await connectBus({ servers: system.natsUrl, name: "observer" });
  const load = publishLoad({ natsUrl: system.natsUrl, queue: "q", jobs: 10000 });
  const state = async (label: string) => {
    for (const p of priorityNames) {
      const s = await bus.streamState(jobStream(p));
      const c = await bus.listConsumers(jobStream(p));
      const k = c.reduce((n, x) => n + x.pending + x.ackPending, 0);
      say(
        label,
        p,
        "messages",
        s.messages,
        "last",
        s.lastSeq,
        "known",
        k,
        "zombies",
        s.messages - k,
        c
          .filter((x) => x.name === "w_q")
          .map((x) => `floor ${x.ackFloorSeq} delivered ${x.deliveredSeq}`)
          .join(),
      );
    }
  };
  for (const share of [0.2, 0.4, 0.6, 0.8]) {
    await load.whenAccepted(10000 * share);
    await nats.kill9();
    say("killed", load.accepted.size);
    await nats.restart();
    await bus.whenConnected();
    await state("restarted");
  }
  await load.ended;
  say("ended");
  for (let i = 0; i < 6; i++) {
    await new Promise((r) => setTimeout(r, 1000));
    await state("after");
  }
  say(system.output?.());
}, 120000);
