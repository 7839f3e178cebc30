import type { Bus } from "@millrace/bus";
import { jobStream, priorityLevels, priorityName, queueConsumer, queueFilter } from "@millrace/protocol";
import type { Intake } from "./intake.ts";

const mostBetweenLooksMs = 30_000;
const retryMs = 500;
/** Queues that are woken, or looked at, at one time. */
const mostAtOnce = 16;

export interface SleepingQueuesOptions {
  readonly bus: Bus;
  readonly queues: readonly string[];
  readonly intake: Intake;
  /** Nothing came for so long: the queue goes to sleep. */
  readonly idleMs: number;
  /** Makes sure of the consumers of a queue. */
  ensure(queue: string): Promise<void>;
  onTrouble(error: unknown): void;
}

/**
 * Consumers cost the broker, whether anything comes for them or not. So a worker of very many queues pulls those that something came
 * for lately. Of the others it hears by their subjects, plainly; the first message makes their consumers, which then deliver it.
 * What may have been missed while there was no connection is looked for when it is back.
 */
export class SleepingQueues implements AsyncDisposable {
  readonly #options: SleepingQueuesOptions;
  readonly #ears = new Map<string, Disposable>();
  readonly #waking = new Set<string>();
  /** To be woken, in the order of their first message. */
  readonly #called = new Set<string>();
  /** Where each log ended when it was last looked at: what came before was heard, or found then. */
  readonly #lookedUpTo = new Map<string, number>();
  readonly #over = new AbortController();
  #listening: Disposable | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  /** The connection up to which everything was heard, or found. */
  #epoch = 0;

  constructor(options: SleepingQueuesOptions) {
    this.#options = options;
  }

  /** All sleep but those that something waits for. @throws BusError */
  async start(): Promise<void> {
    const { bus, queues, intake } = this.#options;
    for (const queue of queues) this.#listen(queue);
    intake.setAsleep(new Set(queues), true);
    await bus.flush();
    await this.#look();
    this.#listening = bus.onStatus((now) => {
      if (now.connected) this.#beat();
    });
    this.#timer = setInterval(() => this.#beat(), Math.min(mostBetweenLooksMs, this.#options.idleMs / 2));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#listening?.[Symbol.dispose]();
    for (const ear of this.#ears.values()) ear[Symbol.dispose]();
    this.#ears.clear();
    this.#called.clear();
    await this.#looking;
  }

  #listen(queue: string): void {
    // All priorities, and whatever follows the queue.
    const subject = queueFilter(1, queue).replace(priorityName(1), "*");
    this.#ears.set(
      queue,
      this.#options.bus.subscribe(subject, {}, () => this.#call(queue)),
    );
  }

  #call(queue: string): void {
    if (this.#over.signal.aborted || !this.#ears.has(queue)) return;
    this.#called.add(queue);
    this.#wakeNext();
  }

  #wakeNext(): void {
    for (const queue of this.#called) {
      if (this.#waking.size >= mostAtOnce) return;
      if (this.#waking.has(queue)) continue;
      this.#waking.add(queue);
      void this.#wake(queue);
    }
  }

  async #wake(queue: string): Promise<void> {
    const { ensure, intake, bus, onTrouble } = this.#options;
    let failed = false;
    try {
      await ensure(queue);
      this.#called.delete(queue);
      this.#ears.get(queue)?.[Symbol.dispose]();
      this.#ears.delete(queue);
      intake.setAsleep(new Set([queue]), false);
    } catch (error) {
      failed = true;
      if (bus.connected) onTrouble(error);
    }
    this.#waking.delete(queue);
    if (this.#over.signal.aborted) return;
    if (!failed) return this.#wakeNext();
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#wakeNext(), retryMs);
  }

  #beat(): void {
    this.#lookAgain = true;
    this.#looking ??= this.#lookWhile().finally(() => {
      this.#looking = undefined;
    });
  }

  async #lookWhile(): Promise<void> {
    while (this.#lookAgain && !this.#over.signal.aborted && this.#options.bus.connected) {
      this.#lookAgain = false;
      try {
        await this.#look();
        await this.#putToSleep();
      } catch (error) {
        if (this.#options.bus.connected) this.#options.onTrouble(error);
      }
    }
  }

  /** Wakes queues for which something lies in the logs. Without a new connection nothing was missed that has no consumer. */
  async #look(): Promise<void> {
    const { bus } = this.#options;
    const { epoch } = bus.status;
    for (const level of priorityLevels) {
      const log = jobStream(priorityName(level));
      // Before the consumers are listed: what comes later is heard.
      const { lastSeq } = await bus.streamState(log);
      const before = this.#lookedUpTo.get(log) ?? 0;
      // A log that was made anew counts from 1.
      const from = before > lastSeq ? 1 : before + 1;
      const consumers = new Map((await bus.listConsumers(log)).map((consumer) => [consumer.name, consumer]));
      const without: string[] = [];
      for (const queue of this.#ears.keys()) {
        const consumer = consumers.get(queueConsumer(queue));
        if (consumer === undefined) without.push(queue);
        else if (consumer.pending + consumer.ackPending > 0) this.#call(queue);
      }
      if (from <= lastSeq && epoch !== this.#epoch) {
        await eachOf(without, async (queue) => {
          if ((await bus.nextMessage(log, queueFilter(level, queue), from)) !== undefined) this.#call(queue);
        });
      }
      this.#lookedUpTo.set(log, lastSeq);
    }
    this.#epoch = epoch;
  }

  /** Queues that nothing came for: listened to first, and then found empty, so that nothing falls in between. */
  async #putToSleep(): Promise<void> {
    const { bus, intake } = this.#options;
    const idleSinceMs = performance.now() - this.#options.idleMs;
    const active = new Set<string>();
    for (const lane of intake.lanes) if (lane.activeMs > idleSinceMs) active.add(lane.queue);
    const idle = this.#options.queues.filter((queue) => !this.#ears.has(queue) && !active.has(queue));
    if (idle.length === 0) return;
    for (const queue of idle) this.#listen(queue);
    await bus.flush();
    const busy = new Set<string>();
    for (const level of priorityLevels) {
      const log = jobStream(priorityName(level));
      const consumers = new Map((await bus.listConsumers(log)).map((consumer) => [consumer.name, consumer]));
      for (const queue of idle) {
        const consumer = consumers.get(queueConsumer(queue));
        if (consumer === undefined || consumer.pending + consumer.ackPending > 0) busy.add(queue);
      }
    }
    // What was heard meanwhile is woken by that.
    const asleep = idle.filter((queue) => !busy.has(queue) && this.#ears.has(queue));
    intake.setAsleep(new Set(asleep), true);
    for (const queue of busy) this.#call(queue);
  }
}

async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const workers = Array.from({ length: mostAtOnce }, async () => {
    for (const item of left) await work(item);
  });
  await Promise.all(workers);
}
