import type { Bus, Delivery, QueueConsumer } from "@millrace/bus";
import { jobStream, priorityName } from "@millrace/protocol";
import type { Lane } from "./intake.ts";

const retryMs = 500;

export interface RepeatBoundsOptions {
  readonly bus: Bus;
  readonly lanes: readonly Lane[];
  onTrouble(error: unknown): void;
}

/**
 * Knows which deliveries may be repeats although the broker calls them first ones. An ack removes nothing from a log, so two things
 * bring back what has ended: a consumer that was made anew, which begins at the log's first message; and a broker that was killed,
 * which may have forgotten the last acks. Either way everything up to the log's last message of that moment is looked up.
 */
export class RepeatBounds implements Disposable {
  readonly #options: RepeatBoundsOptions;
  readonly #listening: Disposable;
  /** Lanes without a bound: all that they deliver is looked up until the log has said where it ends. */
  readonly #open = new Set<Lane>();
  #serverId: string;
  #round = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: RepeatBoundsOptions) {
    this.#options = options;
    const { bus } = options;
    this.#serverId = bus.serverId;
    this.#listening = bus.onStatus((now) => {
      if (!now.connected) return;
      const isAnother = bus.serverId !== this.#serverId;
      this.#serverId = bus.serverId;
      if (isAnother) this.#distrust(options.lanes);
      else if (this.#open.size > 0) this.#find();
    });
  }

  isRepeat(delivery: Delivery, lane: Lane): boolean {
    const { consumerSeq } = delivery;
    // A consumer only counts on: this is another one under the same name, or it has forgotten something.
    if (consumerSeq <= lane.consumerSeq) this.#distrust([lane]);
    lane.consumerSeq = consumerSeq;
    return delivery.delivered > 1 || delivery.seq <= lane.repeatsUpTo;
  }

  /** What came of making sure of a queue's consumers. */
  learn(queue: string, consumers: readonly QueueConsumer[]): void {
    this.learnAnew(queue, new Map(consumers.map(({ level, anewSeq }) => [jobStream(priorityName(level)), anewSeq])));
  }

  /** Up to which sequence of which log the queue's consumers deliver again. */
  learnAnew(queue: string, anew: ReadonlyMap<string, number>): void {
    for (const lane of this.#options.lanes) {
      if (lane.queue === queue) lane.repeatsUpTo = Math.max(lane.repeatsUpTo, anew.get(lane.stream) ?? 0);
    }
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    clearTimeout(this.#timer);
    this.#round++;
  }

  #distrust(lanes: readonly Lane[]): void {
    for (const lane of lanes) {
      lane.repeatsUpTo = Infinity;
      lane.consumerSeq = 0;
      this.#open.add(lane);
    }
    this.#find();
  }

  #find(): void {
    // What an earlier round hears may be from before.
    const round = ++this.#round;
    clearTimeout(this.#timer);
    this.#close(round).catch((error: unknown) => {
      if (round !== this.#round) return;
      this.#options.onTrouble(error);
      this.#timer = setTimeout(() => this.#find(), retryMs * (0.5 + Math.random()));
    });
  }

  async #close(round: number): Promise<void> {
    const streams = [...new Set([...this.#open].map(({ stream }) => stream))];
    await Promise.all(
      streams.map(async (stream) => {
        const { lastSeq } = await this.#options.bus.streamState(stream);
        if (round !== this.#round) return;
        for (const lane of this.#open) {
          if (lane.stream !== stream) continue;
          lane.repeatsUpTo = lastSeq;
          this.#open.delete(lane);
        }
      }),
    );
  }
}
