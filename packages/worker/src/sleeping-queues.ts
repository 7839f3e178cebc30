import type { Bus } from "@millrace/bus";
import { jobStream, priorityLevels, priorityName, queueFilter } from "@millrace/protocol";
import type { Intake, Lane } from "./intake.ts";

const mostBetweenLooksMs = 30_000;
const retryMs = 500;
/** Lanes that are woken, or looked at, at one time. */
const mostAtOnce = 16;

export interface SleepingQueuesOptions {
  readonly bus: Bus;
  readonly intake: Intake;
  /** Nothing came for so long: a lane goes to sleep. */
  readonly idleMs: number;
  /** Makes sure of the consumer of a lane. */
  ensure(lane: Lane): Promise<void>;
  onTrouble(error: unknown): void;
}

/**
 * Consumers cost the broker, whether anything comes for them or not. So a worker of very many queues pulls those that something came
 * for lately, at the priorities at which it came. Of the others it hears by their subjects, plainly; the first message makes the one
 * consumer that it needs, which then delivers it. What was not heard, as there was no connection, or servers had lost each other, is
 * looked for when the connection is back, and every 30 s.
 */
export class SleepingQueues implements AsyncDisposable {
  readonly #options: SleepingQueuesOptions;
  /** Subscriptions by queue, then by subject. */
  readonly #ears = new Map<string, ReadonlyMap<string, Disposable>>();
  /** Lanes whose subjects are listened to. */
  readonly #heard = new Set<Lane>();
  readonly #waking = new Set<Lane>();
  /** To be woken, in the order of their first message. */
  readonly #called = new Set<Lane>();
  /** Where each log ended when it was last looked at: what came before was heard, or found then. */
  readonly #lookedUpTo = new Map<string, number>();
  readonly #over = new AbortController();
  #listening: Disposable | undefined;
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  /** The connection at the last look. */
  #epoch = 0;

  constructor(options: SleepingQueuesOptions) {
    this.#options = options;
  }

  /** All sleep but those that something waits for. @throws BusError */
  async start(): Promise<void> {
    const { bus, intake, idleMs } = this.#options;
    this.#listen(intake.lanes);
    intake.putToSleep(intake.lanes);
    await bus.flush();
    await this.#look();
    this.#listening = bus.onStatus((now) => {
      if (now.connected) this.#beat();
    });
    this.#timer = setInterval(() => this.#beat(), Math.min(mostBetweenLooksMs, idleMs / 2));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    clearInterval(this.#timer);
    clearTimeout(this.#retry);
    this.#listening?.[Symbol.dispose]();
    for (const ears of this.#ears.values()) for (const ear of ears.values()) ear[Symbol.dispose]();
    this.#ears.clear();
    this.#heard.clear();
    this.#called.clear();
    await this.#looking;
  }

  #listen(lanes: readonly Lane[]): void {
    for (const lane of lanes) this.#heard.add(lane);
    for (const queue of new Set(lanes.map((lane) => lane.queue))) this.#turnEars(queue);
  }

  /** Subscribes to what is to be heard of a queue: to all of it at once, while it sleeps at every level. */
  #turnEars(queue: string): void {
    const { bus, intake } = this.#options;
    const before = this.#ears.get(queue);
    const lanes = intake.lanesOf(queue).filter((lane) => this.#heard.has(lane));
    const filters = lanes.map(({ level }) => queueFilter(level, queue));
    const subjects = lanes.length === priorityLevels.length ? [allLevels(queue)] : filters;
    const hear = (subject: string): Disposable =>
      bus.subscribe(subject, {}, (message) => this.#hear(queue, message.subject));
    const ears = new Map(subjects.map((subject) => [subject, before?.get(subject) ?? hear(subject)]));
    // Last: what comes meanwhile is heard twice, rather than not at all.
    for (const [subject, ear] of before ?? []) if (!ears.has(subject)) ear[Symbol.dispose]();
    if (ears.size === 0) this.#ears.delete(queue);
    else this.#ears.set(queue, ears);
  }

  #hear(queue: string, subject: string): void {
    // Also of one that is no job's: it becomes a dead letter once it is delivered.
    const [, priority] = subject.split(".");
    const lane = this.#options.intake.lanesOf(queue).find(({ level }) => priorityName(level) === priority);
    if (lane !== undefined) this.#call(lane);
  }

  #call(lane: Lane): void {
    if (this.#over.signal.aborted || !this.#heard.has(lane)) return;
    this.#called.add(lane);
    this.#wakeNext();
  }

  #wakeNext(): void {
    for (const lane of this.#called) {
      if (this.#waking.size >= mostAtOnce) return;
      if (this.#waking.has(lane)) continue;
      this.#waking.add(lane);
      void this.#wake(lane);
    }
  }

  async #wake(lane: Lane): Promise<void> {
    const { ensure, intake, bus, onTrouble } = this.#options;
    let failed = false;
    try {
      await ensure(lane);
      this.#called.delete(lane);
      if (this.#over.signal.aborted) return;
      intake.wake(lane);
      this.#heard.delete(lane);
      this.#turnEars(lane.queue);
    } catch (error) {
      failed = true;
      if (bus.connected) onTrouble(error);
    } finally {
      this.#waking.delete(lane);
    }
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

  /** Wakes lanes for which something lies in the logs. */
  async #look(): Promise<void> {
    const { bus } = this.#options;
    const { epoch } = bus.status;
    // 2.9 looks through the whole log for each of these questions, and makes no cluster whose servers could lose each other.
    const looksOften = bus.info.features.metadata;
    for (const level of priorityLevels) {
      const log = jobStream(priorityName(level));
      // Before the consumers are listed: what comes later is heard.
      const { lastSeq } = await bus.streamState(log);
      const before = this.#lookedUpTo.get(log) ?? 0;
      // A log that was made anew counts from 1.
      const from = before > lastSeq ? 1 : before + 1;
      const consumers = new Map((await bus.listConsumers(log)).map((consumer) => [consumer.name, consumer]));
      const without: Lane[] = [];
      for (const lane of this.#heard) {
        if (lane.level !== level) continue;
        const consumer = consumers.get(lane.consumer);
        if (consumer === undefined) without.push(lane);
        else if (consumer.pending + consumer.ackPending > 0) this.#call(lane);
      }
      if (from <= lastSeq && (epoch !== this.#epoch || looksOften)) {
        await eachOf(without, async (lane) => {
          // The last one, which a broker finds by its index; for the next one from a place 2.9 reads all that lies between.
          const last = await bus.lastMessage(log, queueFilter(level, lane.queue));
          if (last !== undefined && last.seq >= from) this.#call(lane);
        });
      }
      this.#lookedUpTo.set(log, lastSeq);
    }
    this.#epoch = epoch;
  }

  /** Lanes that nothing came for: listened to first, and then found empty, so that nothing falls in between. */
  async #putToSleep(): Promise<void> {
    const { bus, intake } = this.#options;
    const idleSinceMs = performance.now() - this.#options.idleMs;
    const idle = intake.lanes.filter((lane) => !this.#heard.has(lane) && lane.activeMs <= idleSinceMs);
    if (idle.length === 0) return;
    this.#listen(idle);
    await bus.flush();
    const busy = new Set<Lane>();
    for (const level of new Set(idle.map((lane) => lane.level))) {
      const log = jobStream(priorityName(level));
      const consumers = new Map((await bus.listConsumers(log)).map((consumer) => [consumer.name, consumer]));
      for (const lane of idle) {
        if (lane.level !== level) continue;
        const consumer = consumers.get(lane.consumer);
        if (consumer === undefined || consumer.pending + consumer.ackPending > 0) busy.add(lane);
      }
    }
    // What was heard meanwhile is woken by that.
    intake.putToSleep(idle.filter((lane) => !busy.has(lane) && this.#heard.has(lane)));
    for (const lane of busy) this.#call(lane);
  }
}

/** All priorities, and whatever follows the queue. */
function allLevels(queue: string): string {
  return queueFilter(1, queue).replace(priorityName(1), "*");
}

async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  const workers = Array.from({ length: mostAtOnce }, async () => {
    for (const item of left) await work(item);
  });
  await Promise.all(workers);
}
