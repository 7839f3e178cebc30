import type { Bus } from "@millrace/bus";
import { jobStream, priorityNames, queueOfConsumer } from "@millrace/protocol";
import type { ProjectorLogger } from "./projector-signals.ts";

/** Up to so many queues keep their consumers. */
const fewQueues = 200;
/** Of one look. */
const mostRetired = 500;
const logs = priorityNames.map(jobStream);

/** What was seen of a queue's consumers when something last came for them. */
interface Seen {
  readonly delivered: number;
  readonly sinceMs: number;
}

/** Deletes consumers of queues that nothing comes for, where there are very many: workers make them anew at the first message. */
export class IdleConsumers {
  readonly #bus: Bus;
  readonly #logger: ProjectorLogger;
  readonly #idleMs: number;
  readonly #seen = new Map<string, Seen>();

  constructor(bus: Bus, logger: ProjectorLogger, idleMs: number) {
    this.#bus = bus;
    this.#logger = logger;
    this.#idleMs = idleMs;
  }

  /** @returns how many queues lost their consumers */
  async look(most = fewQueues): Promise<number> {
    const queues = new Map<string, { delivered: number; busy: number }>();
    for (const log of logs) {
      for (const { name, pending, ackPending, waiting, deliveredSeq } of await this.#bus.listConsumers(log)) {
        const queue = queueOfConsumer(name);
        if (queue === undefined) continue;
        const known = queues.get(queue) ?? { delivered: 0, busy: 0 };
        queues.set(queue, {
          delivered: known.delivered + deliveredSeq,
          busy: known.busy + pending + ackPending + waiting,
        });
      }
    }
    const nowMs = performance.now();
    const idle: string[] = [];
    for (const [queue, { delivered, busy }] of queues) {
      const seen = this.#seen.get(queue);
      if (busy > 0 || seen?.delivered !== delivered) this.#seen.set(queue, { delivered, sinceMs: nowMs });
      else if (nowMs - seen.sinceMs >= this.#idleMs) idle.push(queue);
    }
    for (const queue of this.#seen.keys()) if (!queues.has(queue)) this.#seen.delete(queue);
    let retired = 0;
    for (const queue of idle.slice(0, Math.min(mostRetired, Math.max(0, queues.size - most)))) {
      if (await this.#bus.upkeep.retireConsumers(queue, logs)) retired++;
      this.#seen.delete(queue);
    }
    if (retired > 0)
      this.#logger.info({ retired, queues: queues.size - retired }, "consumers of idle queues were deleted");
    return retired;
  }
}
