import type { Bus, Delivery, PullEnd } from "@millrace/bus";
import { jobStream, priorityLevels, priorityName, queueConsumer, type PriorityLevel } from "@millrace/protocol";
import { PriorityFloors, type Floors } from "./priority-floors.ts";

/** One queue at one priority: a durable consumer. */
export interface Lane {
  readonly level: PriorityLevel;
  readonly queue: string;
  readonly stream: string;
  readonly consumer: string;
  /** What every subject of this lane begins with. */
  readonly prefix: string;
  /**
   * `unknown`: may hold jobs. `asking`: a pull is under way that answers at once. `parked`: it was empty, and a long pull
   * waits for its first job. `resting`: not to be asked for a while.
   */
  state: "unknown" | "asking" | "parked" | "resting";
  paused: boolean;
  /** Nothing has come for it lately: it is not pulled, and may have no consumer; see SleepingQueues. */
  asleep: boolean;
  /** When something was delivered last, monotonic ms. */
  activeMs: number;
  /** Of the last delivery; see RepeatBounds. */
  consumerSeq: number;
  /** Up to this sequence of the log, deliveries may be repeats. */
  repeatsUpTo: number;
  timer: NodeJS.Timeout | undefined;
  /** Since when its consumer answers no pull, monotonic ms; 0: it does. */
  silentMs: number;
  /** The last subject without an id, which all jobs of a type and owner share, and what it says. */
  shared: { readonly subject: Uint8Array; readonly type: string; readonly owner: string } | undefined;
}

export interface IntakeOptions {
  readonly bus: Bus;
  readonly queues: readonly string[];
  readonly floors: Floors;
  /** How many more jobs may be taken at this moment. */
  credits(): number;
  /** How many critical jobs may be taken even when there are no credits. */
  criticalCredits(): number;
  onDelivery(delivery: Delivery, lane: Lane): void;
  /** A consumer may be gone: make sure of it. Resolves when it can be pulled from. */
  restore(lane: Lane): Promise<void>;
}

const parkedMs = 30_000;
/** A parked pull brings no more than this; the pulls that follow it are larger. */
const mostParkedBatch = 64;
const mostBatch = 1000;
const restMs = 200;
/** While a leader is elected the server that we are connected to refuses pulls itself: it may be asked so often by all lanes together. */
const unservedApartMs = 2;
/** An election should be over by then: a lane is asked less often, and people are told. */
const electedByMs = 15_000;
const mostRestMs = 2000;

/**
 * Pulls by strict priority. A lower level is asked only while every higher one is parked, that is known to be empty, or when
 * its floor is due. Nothing is polled: parked pulls wake the intake.
 */
export class Intake {
  readonly lanes: readonly Lane[];
  readonly #options: IntakeOptions;
  readonly #floors: PriorityFloors;
  readonly #byQueue: ReadonlyMap<string, readonly Lane[]>;
  /** What is looked at, however many sleep: all other lanes, by level. */
  readonly #awake = new Map<PriorityLevel, Lane[]>();
  /** Jobs that pulls under way may still bring, parked ones left out. */
  #expected = 0;
  #turn = 0;
  #stopped = true;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#floors = new PriorityFloors(options.floors);
    this.lanes = priorityLevels.flatMap((level) =>
      options.queues.map((queue) => ({
        level,
        queue,
        stream: jobStream(priorityName(level)),
        consumer: queueConsumer(queue),
        prefix: `jobs.${priorityName(level)}.${queue}.`,
        state: "unknown" as const,
        paused: false,
        asleep: false,
        activeMs: 0,
        consumerSeq: 0,
        repeatsUpTo: 0,
        timer: undefined,
        shared: undefined,
        silentMs: 0,
      })),
    );
    this.#byQueue = Map.groupBy(this.lanes, ({ queue }) => queue);
    this.#sortAwake();
  }

  /** One for each level; none of a queue that is not served. */
  lanesOf(queue: string): readonly Lane[] {
    return this.#byQueue.get(queue) ?? [];
  }

  start(): Disposable {
    this.#stopped = false;
    for (const lane of this.lanes) if (lane.state === "resting") lane.state = "unknown";
    const status = this.#options.bus.onStatus((now) => {
      if (now.connected) this.refill();
    });
    this.refill();
    return {
      [Symbol.dispose]: () => {
        this.stop();
        status[Symbol.dispose]();
      },
    };
  }

  /** Asks for nothing more. Pulls under way may still bring jobs. */
  stop(): void {
    this.#stopped = true;
    for (const lane of this.lanes) clearTimeout(lane.timer);
  }

  /** Queues that are asleep at every level. */
  get asleep(): number {
    let queues = 0;
    for (const lanes of this.#byQueue.values()) if (lanes.every((lane) => lane.asleep)) queues++;
    return queues;
  }

  /** Lanes whose consumer has answered no pull for longer than an election takes. */
  get silent(): Lane[] {
    if (!this.#options.bus.connected) return [];
    const sinceMs = performance.now() - electedByMs;
    return this.lanes.filter(({ silentMs }) => silentMs > 0 && silentMs < sinceMs);
  }

  /** Whether a job that arrives at this moment is wanted. */
  wants(lane: Lane): boolean {
    return !this.#stopped && !lane.paused;
  }

  pause(queue: string, paused: boolean): void {
    for (const lane of this.lanesOf(queue)) lane.paused = paused;
    if (!paused) this.refill();
  }

  /** They are pulled no more. Pulls under way may still bring jobs. */
  putToSleep(lanes: Iterable<Lane>): void {
    for (const lane of lanes) {
      lane.asleep = true;
      lane.silentMs = 0;
    }
    this.#sortAwake();
  }

  /** It is pulled from here on, and has a consumer. */
  wake(lane: Lane): void {
    lane.activeMs = performance.now();
    if (lane.asleep) {
      // Its consumer may be another, which counts from 1. Up to where that delivers again is known to who made sure of it.
      lane.consumerSeq = 0;
      lane.asleep = false;
      this.#awake.get(lane.level)?.push(lane);
    }
    this.refill();
  }

  /** Takes what the credits allow, from the top. Called whenever credits or lanes have changed. */
  refill(): void {
    if (this.#stopped || !this.#options.bus.connected) return;
    const credits = this.#options.credits() - this.#expected;
    if (credits < 1) {
      // However full we are, a critical job finds a pull that waits for it, and a slot that is kept for it.
      const kept = this.#options.criticalCredits() - this.#expected;
      if (kept > 0 && this.#askable(1).length > 0) this.#ask(1, kept);
      return;
    }
    const due = this.#floors.dueLevel((level) => this.#askable(level).length > 0);
    if (due !== undefined) this.#ask(due, Math.min(credits, this.#floors.due(due)));
    for (const level of priorityLevels) {
      if (this.#lanesAt(level).some((lane) => lane.state === "asking")) return;
      if (this.#askable(level).length > 0) return this.#ask(level, credits);
    }
    for (const level of priorityLevels) for (const lane of this.#askable(level)) this.#park(lane);
  }

  #lanesAt(level: PriorityLevel): readonly Lane[] {
    return this.#awake.get(level) ?? [];
  }

  #sortAwake(): void {
    for (const level of priorityLevels) this.#awake.set(level, []);
    for (const lane of this.lanes) if (!lane.asleep) this.#awake.get(lane.level)?.push(lane);
  }

  #askable(level: PriorityLevel): Lane[] {
    return this.#lanesAt(level).filter((lane) => lane.state === "unknown" && !lane.paused);
  }

  #ask(level: PriorityLevel, credits: number): void {
    const lanes = this.#askable(level);
    // Queues of a level take turns at being first, and share what there is.
    const first = this.#turn++ % lanes.length;
    let left = Math.min(credits, mostBatch * lanes.length);
    for (let i = 0; i < lanes.length && left > 0; i++) {
      const lane = lanes[(first + i) % lanes.length];
      if (lane === undefined) return;
      const batch = Math.min(mostBatch, Math.max(1, Math.ceil(left / (lanes.length - i))));
      left -= batch;
      this.#expected += batch;
      lane.state = "asking";
      let open = batch;
      this.#pull(lane, batch, 0, {
        onMessage: () => {
          // What comes after a pull was given up is expected no more.
          if (open === 0) return;
          open--;
          this.#expected--;
        },
        onEnd: (end) => {
          this.#expected -= open;
          open = 0;
          lane.state = "unknown";
          // It gave less than we asked for: it is empty, and its next job shall wake us.
          if (end.reason === "empty" && !lane.asleep) this.#park(lane);
        },
      });
    }
  }

  #park(lane: Lane): void {
    lane.state = "parked";
    const awake = this.#lanesAt(lane.level).length * priorityLevels.length;
    const share = Math.floor((this.#options.credits() - this.#expected) / Math.max(1, awake));
    this.#pull(lane, Math.max(1, Math.min(mostParkedBatch, share)), parkedMs, {
      onMessage: () => {
        // Not empty any more: what is below waits until this lane was asked.
        if (lane.state === "parked") lane.state = "asking";
      },
      onEnd: () => {
        lane.state = "unknown";
      },
    });
  }

  #pull(
    lane: Lane,
    batch: number,
    expiresMs: number,
    handlers: { onMessage(): void; onEnd(end: PullEnd): void },
  ): void {
    this.#options.bus.pull(
      lane.stream,
      lane.consumer,
      { batch, expiresMs, noWait: true },
      {
        onMessage: (delivery) => {
          handlers.onMessage();
          lane.silentMs = 0;
          this.#floors.served(lane.level);
          this.#options.onDelivery(delivery, lane);
        },
        onEnd: (end) => {
          handlers.onEnd(end);
          this.#ended(lane, end);
        },
      },
    );
  }

  #ended(lane: Lane, end: PullEnd): void {
    // Its consumer may go now; who wakes it makes sure of one.
    if (lane.asleep) return this.refill();
    if (end.reason === "lost" || end.reason === "gone" || end.reason === "unserved")
      lane.silentMs ||= performance.now();
    else if (end.reason !== "disconnected" && end.reason !== "moved") lane.silentMs = 0;
    switch (end.reason) {
      case "disconnected":
        // The connection's return calls refill.
        return;
      // Of a consumer that does not exist a broker may say nothing at all.
      case "lost":
      case "gone":
        this.#rest(lane, restMs, () => this.#restore(lane));
        return;
      case "unserved":
        // A leader is being elected, whom the next pull finds; or there is no consumer.
        void this.#restore(lane).catch(() => undefined);
        this.#rest(lane, this.#unservedRestMs(lane));
        return;
      // A leader says that it was elected a moment before it takes pulls.
      case "moved":
      case "busy":
      case "limited":
        this.#rest(lane, restMs);
        return;
      default:
        this.refill();
    }
  }

  #unservedRestMs({ silentMs }: Lane): number {
    if (performance.now() - silentMs > electedByMs) return mostRestMs;
    let lanes = 0;
    for (const lane of this.lanes) if (lane.silentMs > 0) lanes++;
    return Math.min(mostRestMs, Math.max(restMs, lanes * unservedApartMs));
  }

  /** A full worker may not pull for long: that there is a leader shows by the answer too. */
  async #restore(lane: Lane): Promise<void> {
    await this.#options.restore(lane);
    lane.silentMs = 0;
  }

  #rest(lane: Lane, ms: number, before: () => Promise<void> = () => Promise.resolve()): void {
    if (this.#stopped) return;
    lane.state = "resting";
    lane.timer = setTimeout(
      () => {
        const again = (): void => {
          if (lane.state === "resting") lane.state = "unknown";
          this.refill();
        };
        // Whether it was restored shows at the next pull.
        before().then(again, again);
      },
      ms * (0.5 + Math.random()),
    );
  }
}
