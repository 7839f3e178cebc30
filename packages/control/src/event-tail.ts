import type { Bus, StreamReader } from "@millrace/bus";
import { eventsStream, MillraceError } from "@millrace/protocol";
import { decodeEvents } from "./decode-events.ts";
import { EventSieve } from "./event-sieve.ts";
import type { JobEventAt } from "./job-event-at.ts";

/** Hears of every event, in order and once. */
export interface TailListener {
  /** From the ring, before anything else: bounded by the ring. */
  onPast(events: readonly JobEventAt[]): void;
  onEvents(events: readonly JobEventAt[]): void;
  /** The tail has ended: nothing more will be told. */
  onEnd(error: MillraceError): void;
}

/** The events of one stream message; its sequence also when there are none. */
interface TailMessage {
  readonly seq: number;
  readonly events: readonly JobEventAt[];
}

/** How long the tail goes on without a watcher, so that one who comes back does not start it anew. */
const lingerMs = 30_000;
/** Events of results stay in memory with their bytes: the ring has a bound on them too. */
const mostRingBytes = 32 << 20;
/** Events that the tail remembers, to tell each once: some seconds at full speed, some minutes of an ordinary day. */
const rememberedEvents = 32_768;

/** One read of EVENTS for all watchers of this process, with the newest messages kept in a ring. */
export class EventTail implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #ringMessages: number;
  readonly #listeners = new Set<TailListener>();
  #ring: TailMessage[] = [];
  #ringBytes: number[] = [];
  #bytes = 0;
  /** Every message above this sequence was told, or will be. */
  #firstSeq = 0;
  #lastSeq = 0;
  #starting: Promise<void> | undefined;
  #reader: StreamReader | undefined;
  #linger: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(bus: Bus, ringMessages: number) {
    this.#bus = bus;
    this.#ringMessages = ringMessages;
  }

  /** Everything above this sequence is in the ring, or still to come. */
  get joinableAfterSeq(): number {
    return this.#firstSeq;
  }

  /** Of the newest message that was told. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** Resolves when the tail reads. */
  start(): Promise<void> {
    if (this.#closed) return Promise.reject(new MillraceError("unavailable", "the service is stopping"));
    return (this.#starting ??= this.#start().catch((error: unknown) => {
      this.#starting = undefined;
      throw error;
    }));
  }

  /**
   * Tells the listener what the ring has above `afterSeq`, then what comes; without a gap between the two.
   * @throws RangeError when `afterSeq` lies below `joinableAfterSeq`
   */
  join(listener: TailListener, afterSeq: number): Disposable {
    if (afterSeq < this.#firstSeq) throw new RangeError("the ring does not go back so far");
    clearTimeout(this.#linger);
    this.#listeners.add(listener);
    for (const message of this.#ring) if (message.seq > afterSeq) listener.onPast(message.events);
    return { [Symbol.dispose]: () => this.#leave(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.#starting?.catch(() => undefined);
    await this.#stop(new MillraceError("unavailable", "the service is stopping"));
  }

  async #start(): Promise<void> {
    const { lastSeq } = await this.#bus.streamState(eventsStream);
    this.#firstSeq = this.#lastSeq = lastSeq;
    this.#ring = [];
    this.#ringBytes = [];
    this.#bytes = 0;
    const sieve = new EventSieve(rememberedEvents);
    const reader = this.#bus.readEvents({
      startSeq: lastSeq + 1,
      batch: 256,
      onBatch: (messages) => {
        for (const message of messages) {
          const events = decodeEvents(message).filter((event) => sieve.takes(event));
          this.#keep({ seq: message.seq, events }, message.data.length + 256);
          if (events.length > 0) for (const listener of this.#listeners) listener.onEvents(events);
        }
      },
      // What the watchers know of places in the stream is void.
      onReset: () => void this.#stop(new MillraceError("unavailable", "the event stream was made anew")),
      onGap: () => void this.#stop(new MillraceError("unavailable", "events were dropped before they were read")),
    });
    this.#reader = reader;
    reader.done.catch(() => void this.#stop(new MillraceError("unavailable", "the event stream cannot be read")));
  }

  #keep(message: TailMessage, bytes: number): void {
    this.#lastSeq = message.seq;
    this.#ring.push(message);
    this.#ringBytes.push(bytes);
    this.#bytes += bytes;
    if (this.#ring.length < 2 * this.#ringMessages && this.#bytes <= 2 * mostRingBytes) return;
    // Half at a time, so that the cost of moving is spread.
    let drop = 0;
    while (this.#ring.length - drop > this.#ringMessages || this.#bytes > mostRingBytes) {
      this.#bytes -= this.#ringBytes[drop] ?? 0;
      this.#firstSeq = this.#ring[drop]?.seq ?? this.#firstSeq;
      drop++;
    }
    this.#ring.splice(0, drop);
    this.#ringBytes.splice(0, drop);
  }

  #leave(listener: TailListener): void {
    this.#listeners.delete(listener);
    if (this.#listeners.size > 0 || this.#reader === undefined || this.#closed) return;
    clearTimeout(this.#linger);
    this.#linger = setTimeout(() => {
      if (this.#listeners.size === 0) void this.#stop(new MillraceError("unavailable", "the tail rests"));
    }, lingerMs);
  }

  async #stop(error: MillraceError): Promise<void> {
    clearTimeout(this.#linger);
    const reader = this.#reader;
    if (reader === undefined) return;
    this.#reader = undefined;
    this.#starting = undefined;
    for (const listener of this.#listeners) listener.onEnd(error);
    this.#listeners.clear();
    await reader[Symbol.asyncDispose]();
  }
}
