import type { Bus } from "@millrace/bus";

/** Between two samples. */
const everyMs = 10_000;
/** A clock that is this far off is somebody's business. */
const worthTellingMs = 1000;
const tellAgainMs = 3_600_000;

/**
 * Learns the broker's time from jobs that were stored a moment ago: run-at and deadline are judged by it, and not by this machine's
 * clock. One job in ten seconds is looked at.
 */
export class ClockSamples {
  readonly #bus: Bus;
  #sampledMs = -Infinity;
  #toldMs = -Infinity;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** A message was sent and acknowledged between two instants of the monotonic clock. */
  take(sentMs: number, answeredMs: number, stream: string, seq: number): void {
    if (answeredMs - this.#sampledMs < everyMs) return;
    this.#sampledMs = answeredMs;
    const { clock, logger } = this.#bus;
    this.#bus.messageAt(stream, seq).then(
      (message) => {
        // It may have left its log again.
        if (message === undefined) return;
        clock.observe(sentMs, answeredMs, message.timestampMs);
        const { skewMs } = clock;
        if (Math.abs(skewMs) < worthTellingMs || answeredMs - this.#toldMs < tellAgainMs) return;
        this.#toldMs = answeredMs;
        logger.warn({ skewMs }, "this machine's clock is not the broker's: jobs are judged by the broker's");
      },
      (error: unknown) => logger.debug({ err: error }, "the broker's time cannot be read"),
    );
  }
}
