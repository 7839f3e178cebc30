import type { Bus, Delivery } from "@millrace/bus";
import { eventsStream, MillraceError } from "@millrace/protocol";
import { decodeEvents } from "./decode-events.ts";
import { EventSieve } from "./event-sieve.ts";
import type { JobEventAt } from "./job-event-at.ts";

export interface ReplayOptions {
  readonly fromSeq: number;
  /** Throw on messages that have left the stream. */
  readonly strict: boolean;
  readonly signal: AbortSignal;
}

export interface ReplayedMessage {
  readonly seq: number;
  readonly events: readonly JobEventAt[];
}

/** Events that one replay remembers, to tell each once. */
const rememberedEvents = 4096;

/** Reads EVENTS from a place on, each event once, as fast as the consumer of this generator takes it. Goes on into the present. */
export async function* replayEvents(bus: Bus, options: ReplayOptions): AsyncGenerator<ReplayedMessage> {
  const { signal } = options;
  const sieve = new EventSieve(rememberedEvents);
  const { lastSeq } = await bus.streamState(eventsStream);
  let batch: readonly Delivery[] | undefined;
  let taken = Promise.withResolvers<void>();
  let given = Promise.withResolvers<void>();
  let failure: unknown;
  let caughtUp = false;
  const wake = (): void => given.resolve();
  signal.addEventListener("abort", wake, { once: true });
  await using reader = bus.readEvents({
    startSeq: options.fromSeq,
    batch: 256,
    onBatch: (messages) => {
      batch = messages;
      taken = Promise.withResolvers<void>();
      given.resolve();
      return taken.promise;
    },
    onCaughtUp: () => {
      caughtUp = true;
      wake();
    },
    onGap: () => {
      if (!options.strict) return;
      failure = new MillraceError("failed_precondition", "events after this position are no longer kept");
      wake();
    },
    onReset: () => {
      failure = new MillraceError("unavailable", "the event stream was made anew");
      wake();
    },
  });
  reader.done.catch((error: unknown) => {
    failure = error;
    wake();
  });
  try {
    while (!signal.aborted) {
      if (failure !== undefined) throw failure;
      const messages = batch;
      if (messages !== undefined) {
        batch = undefined;
        for (const message of messages) {
          yield { seq: message.seq, events: decodeEvents(message).filter((event) => sieve.takes(event)) };
        }
        given = Promise.withResolvers<void>();
        taken.resolve();
      } else if (caughtUp) {
        caughtUp = false;
        // The newest messages may have left the stream; whoever waits for their sequence must not wait for ever.
        yield { seq: lastSeq, events: [] };
      } else {
        await given.promise;
        given = Promise.withResolvers<void>();
      }
    }
  } finally {
    signal.removeEventListener("abort", wake);
    // The reader's end waits for the batch that it has given.
    taken.resolve();
  }
}
