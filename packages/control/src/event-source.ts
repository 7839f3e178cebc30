import type { Bus } from "@millrace/bus";
import { eventsStream, MillraceError } from "@millrace/protocol";
import { parsePosition, type EventPosition } from "@millrace/store";
import { EventSieve } from "./event-sieve.ts";
import { replayEvents, type ReplayedMessage } from "./replay-events.ts";
import type { EventTail } from "./event-tail.ts";
import type { JobEventAt } from "./job-event-at.ts";
import { Watcher } from "./watcher.ts";

export interface FollowOptions {
  /** Events after this place; what has left the stream since is skipped unless `strict`. */
  readonly after: EventPosition;
  /** Throw when events after the place are no longer kept. */
  readonly strict: boolean;
  readonly wants: (event: JobEventAt) => boolean;
  readonly signal: AbortSignal;
}

/** Events that one watcher was told, and is not told again. */
const rememberedEvents = 8192;
/** Messages before the place where a watch goes on: what they told is not told again. */
const recalledMessages = 256;

/** Events from any place in the past on into the present, without a gap and each once. */
export class EventSource implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #tail: EventTail;
  readonly #backlog: number;
  readonly #maxReplays: number;
  #replays = 0;

  constructor(bus: Bus, tail: EventTail, limits: { backlog: number; maxReplays: number }) {
    this.#bus = bus;
    this.#tail = tail;
    this.#backlog = limits.backlog;
    this.#maxReplays = limits.maxReplays;
  }

  /** Resolves when nothing that happens from here on is missed. @returns the place of the newest event known */
  async present(): Promise<EventPosition> {
    await this.#tail.start();
    return { seq: this.#tail.lastSeq, index: lastIndex };
  }

  /**
   * @throws MillraceError invalid_argument (no position), failed_precondition (none of this stream, or no longer kept)
   */
  async resumePosition(text: string): Promise<EventPosition> {
    const position = parsePosition(text);
    if (position === undefined) {
      throw new MillraceError("invalid_argument", "resume_after: is no position of an event", {
        details: [{ field: "resume_after", reason: "is no position of an event" }],
      });
    }
    const { firstSeq, lastSeq } = await this.#bus.streamState(eventsStream);
    if (position.seq > lastSeq) throw lost(text, "is not one of this event stream");
    if (position.seq + 1 < firstSeq) throw lost(text, "is no longer kept");
    return position;
  }

  /** Ends when the signal is aborted; throws resource_exhausted when the caller is too slow. */
  async *follow(options: FollowOptions): AsyncGenerator<JobEventAt> {
    const { after, wants, strict, signal } = options;
    const isAfter = (event: JobEventAt): boolean =>
      event.position.seq > after.seq || (event.position.seq === after.seq && event.position.index > after.index);
    // Where the replay ends and the tail goes on, neither knows what the other has told.
    const sieve = new EventSieve(rememberedEvents);
    const wanted = (event: JobEventAt): boolean => wants(event) && sieve.takes(event) && isAfter(event);
    // The message at the place itself may hold more events after it.
    let readSeq = after.index >= lastIndex ? after.seq : Math.max(0, after.seq - 1);
    if (strict)
      readSeq = Math.max((await this.#bus.streamState(eventsStream)).firstSeq - 1, readSeq - recalledMessages, 0);
    // Again when the tail rested, or ran ahead, during a long replay.
    for (await this.#tail.start(); readSeq < this.#tail.joinableAfterSeq; await this.#tail.start()) {
      for await (const { seq, events } of this.#replay(readSeq + 1, options)) {
        for (const event of events) if (wanted(event)) yield event;
        readSeq = seq;
        if (readSeq >= this.#tail.joinableAfterSeq) break;
      }
      if (signal.aborted) return;
    }
    if (signal.aborted) return;
    const watcher = new Watcher(wanted, this.#backlog, signal);
    using joined = this.#tail.join(watcher, Math.max(readSeq, 0));
    void joined;
    yield* watcher.events();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#tail[Symbol.asyncDispose]();
  }

  async *#replay(fromSeq: number, { strict, signal }: FollowOptions): AsyncGenerator<ReplayedMessage> {
    if (this.#replays >= this.#maxReplays) {
      throw new MillraceError("resource_exhausted", `${this.#maxReplays} watchers read old events`, {
        retryAfterMs: 1000,
      });
    }
    this.#replays++;
    try {
      yield* replayEvents(this.#bus, { fromSeq, strict, signal });
    } finally {
      this.#replays--;
    }
  }
}

/** Above any index within a batch: the place after the whole message. */
export const lastIndex = 999_999_999;

function lost(position: string, why: string): MillraceError {
  return new MillraceError("failed_precondition", `position ${position} ${why}: watch again without it`);
}
