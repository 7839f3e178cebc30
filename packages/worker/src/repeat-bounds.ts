import type { Bus, Delivery, QueueConsumer } from "@millrace/bus";
import { jobStream, priorityName } from "@millrace/protocol";
import type { Lane } from "./intake.ts";
import { logEndsAtRestart } from "./log-ends-at-restart.ts";

const retryMs = 500;

export interface RepeatBoundsOptions {
  readonly bus: Bus;
  readonly lanes: readonly Lane[];
  /** Of one queue. */
  lanesOf(queue: string): readonly Lane[];
  onTrouble(error: unknown): void;
}

/** Why all that a lane delivers is doubted: the broker is another, or its consumer has counted back. */
type Doubt = "broker" | "consumer";

/**
 * Knows which deliveries may be repeats although the broker calls them first ones. An ack removes nothing from a log, so two things
 * bring back what has ended: a consumer that was made anew, which begins at the log's first message; and a broker that was killed,
 * which may have forgotten the last acks. Either way everything up to the log's end of that moment is looked up.
 */
export class RepeatBounds implements Disposable {
  readonly #options: RepeatBoundsOptions;
  readonly #listening: Disposable;
  /** Lanes without a bound: all that they deliver is looked up until the log has said where it ends. */
  readonly #doubted = new Map<Lane, Doubt>();
  /** Lanes whose bound is the log's end, only because it is not known where that was when the broker started: the bound before. */
  readonly #widened = new Map<Lane, number>();
  #endsAtRestart: ReadonlyMap<string, number> | undefined;
  #serverId = "";
  #round = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RepeatBoundsOptions) {
    this.#options = options;
    this.#listening = options.bus.onStatus((now) => {
      if (now.connected) this.#connected();
    });
    this.#connected();
  }

  isRepeat(delivery: Delivery, lane: Lane): boolean {
    const { consumerSeq } = delivery;
    // A consumer only counts on: this is another one under the same name, or it has forgotten something.
    if (consumerSeq <= lane.consumerSeq) this.#doubt([lane], "consumer");
    lane.consumerSeq = consumerSeq;
    if (delivery.delivered > 1 || delivery.seq <= lane.repeatsUpTo) return true;
    return this.#doubted.size > 0 && this.#doubted.has(lane);
  }

  /** What came of making sure of a queue's consumers. */
  learn(queue: string, consumers: readonly QueueConsumer[]): void {
    this.learnAnew(queue, new Map(consumers.map(({ level, anewSeq }) => [jobStream(priorityName(level)), anewSeq])));
  }

  /** Up to which sequence of which log the queue's consumers deliver again. */
  learnAnew(queue: string, anew: ReadonlyMap<string, number>): void {
    for (const lane of this.#options.lanesOf(queue)) {
      const upTo = anew.get(lane.stream) ?? 0;
      lane.repeatsUpTo = Math.max(lane.repeatsUpTo, upTo);
      const before = this.#widened.get(lane);
      if (before !== undefined) this.#widened.set(lane, Math.max(before, upTo));
    }
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    clearTimeout(this.#timer);
    this.#round++;
  }

  #connected(): void {
    const { serverId } = this.#options.bus;
    if (serverId !== this.#serverId) {
      this.#serverId = serverId;
      this.#endsAtRestart = undefined;
      this.#doubt(this.#options.lanes, "broker");
    } else if (this.#doubted.size + this.#widened.size > 0) this.#settle();
  }

  #doubt(lanes: readonly Lane[], why: Doubt): void {
    for (const lane of lanes) {
      lane.consumerSeq = 0;
      if (why === "consumer") this.#widened.delete(lane);
      if (this.#doubted.get(lane) !== "consumer") this.#doubted.set(lane, why);
    }
    this.#settle();
  }

  #settle(): void {
    // What an earlier round hears may be from before.
    const round = ++this.#round;
    clearTimeout(this.#timer);
    this.#findBounds(round).catch((error: unknown) => {
      if (round !== this.#round) return;
      this.#options.onTrouble(error);
      this.#timer = setTimeout(() => this.#settle(), retryMs * (0.5 + Math.random()));
    });
  }

  /** Each log by itself: in a cluster they are led by different servers, and one without a leader keeps none of the others. */
  async #findBounds(round: number): Promise<void> {
    const { bus } = this.#options;
    const streams = [...new Set([...this.#doubted.keys()].map(({ stream }) => stream))];
    const restart = this.#endsAtRestart ?? logEndsAtRestart(bus);
    await Promise.all([
      ...streams.map(async (stream) => {
        const { lastSeq } = await bus.streamState(stream);
        if (round === this.#round) this.#bound(stream, lastSeq);
      }),
      (async () => {
        const ends = await restart;
        if (round !== this.#round) return;
        this.#endsAtRestart = ends;
        this.#narrow(ends);
      })(),
    ]);
  }

  #bound(stream: string, end: number): void {
    for (const [lane, why] of this.#doubted) {
      if (lane.stream !== stream) continue;
      // Not beyond the end: the log may have been made anew, and counts from 1.
      if (why === "broker") this.#widened.set(lane, Math.min(end, lane.repeatsUpTo));
      lane.repeatsUpTo = end;
      this.#doubted.delete(lane);
    }
    if (this.#endsAtRestart !== undefined) this.#narrow(this.#endsAtRestart);
  }

  #narrow(endsAtRestart: ReadonlyMap<string, number>): void {
    for (const [lane, before] of this.#widened) {
      const end = endsAtRestart.get(lane.stream) ?? lane.repeatsUpTo;
      lane.repeatsUpTo = Math.min(lane.repeatsUpTo, Math.max(before, end));
    }
    this.#widened.clear();
  }
}
