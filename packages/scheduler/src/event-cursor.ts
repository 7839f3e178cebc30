import { isSameStream, type Bus, type KvBucket, type StreamState } from "@millrace/bus";
import { eventsStream } from "@millrace/protocol";

/** The place of the last event that a plugin has heard, or was not to hear. */
export interface EventPlace {
  readonly seq: number;
  /** Within the message. */
  readonly index: number;
}

/** Above any index within a message. */
const wholeMessage = 999_999_999;
/** Between two writes: after a crash so much is offered again, and found to be done. */
const saveEveryMs = 500;

interface Saved extends EventPlace {
  /** Of the stream: places in another mean nothing. */
  readonly createdMs: number;
}

/** How far one plugin has heard of events, kept in the `eventCursors` bucket. */
export class EventCursor {
  readonly #bucket: KvBucket;
  readonly #key: string;
  readonly #createdMs: number;
  /** Of EVENTS, when the cursor was opened. */
  readonly lastSeq: number;
  #place: EventPlace;
  #savedAtMs = -Infinity;
  #dirty: boolean;

  private constructor(
    bucket: KvBucket,
    key: string,
    { createdMs, lastSeq }: StreamState,
    place: EventPlace,
    isNew: boolean,
  ) {
    this.#bucket = bucket;
    this.#key = key;
    this.#createdMs = createdMs;
    this.lastSeq = lastSeq;
    this.#place = place;
    this.#dirty = isNew;
  }

  /** A plugin that has no cursor hears of what happens from here on. */
  static async open(bus: Bus, plugin: string): Promise<EventCursor> {
    const bucket = bus.kv("eventCursors");
    const key = keyOf(plugin);
    const state = await bus.streamState(eventsStream);
    const { lastSeq } = state;
    const entry = await bucket.get(key);
    const saved = entry === undefined ? undefined : read(entry.value);
    let place: EventPlace = { seq: lastSeq, index: wholeMessage };
    if (saved !== undefined && !isSameStream(state, saved.createdMs)) place = { seq: 0, index: wholeMessage };
    // A crashed broker may have forgotten its newest messages.
    else if (saved !== undefined && saved.seq <= lastSeq) place = saved;
    const cursor = new EventCursor(bucket, key, state, place, saved === undefined);
    await cursor.save();
    return cursor;
  }

  /** Forgets how far a plugin was that is gone. */
  static async forget(bus: Bus, plugin: string): Promise<void> {
    const bucket = bus.kv("eventCursors");
    if ((await bucket.get(keyOf(plugin))) !== undefined) await bucket.delete(keyOf(plugin));
  }

  /** Where reading begins. */
  get fromSeq(): number {
    return this.#place.index >= wholeMessage ? this.#place.seq + 1 : Math.max(1, this.#place.seq);
  }

  isPast({ seq, index }: EventPlace): boolean {
    return seq < this.#place.seq || (seq === this.#place.seq && index <= this.#place.index);
  }

  /** Of the last message that was heard of, in whole or in part. */
  get seq(): number {
    return this.#place.seq;
  }

  /** Moves on, never back, and writes it now and then. @param index all of the message when left out */
  async advance(seq: number, index: number = wholeMessage): Promise<void> {
    if (this.isPast({ seq, index })) return;
    this.#place = { seq, index };
    this.#dirty = true;
    if (performance.now() - this.#savedAtMs >= saveEveryMs) await this.save();
  }

  async save(): Promise<void> {
    if (!this.#dirty) return;
    this.#savedAtMs = performance.now();
    this.#dirty = false;
    const saved: Saved = { ...this.#place, createdMs: this.#createdMs };
    try {
      await this.#bucket.put(this.#key, new TextEncoder().encode(JSON.stringify(saved)));
    } catch (error) {
      this.#dirty = true;
      throw error;
    }
  }
}

function keyOf(plugin: string): string {
  return `cursor.${plugin}`;
}

/** Undefined for what nobody but a stranger has written. */
function read(bytes: Uint8Array): Saved | undefined {
  try {
    const { seq, index, createdMs } = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Saved>;
    if (![seq, index, createdMs].every(Number.isSafeInteger)) return undefined;
    return { seq: seq ?? 0, index: index ?? 0, createdMs: createdMs ?? 0 };
  } catch {
    return undefined;
  }
}
