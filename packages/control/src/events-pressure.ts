import { eventsStream, MillraceError } from "@millrace/protocol";
import type { Bus } from "@millrace/bus";

/** Says no to new jobs while EVENTS is nearly full: an accepted job that nobody can tell of would be lost to the rows. */
export class EventsPressure implements AsyncDisposable {
  readonly #watch: AsyncDisposable;
  #reason = "";

  constructor(bus: Bus) {
    this.#watch = bus.watchFill({
      stream: eventsStream,
      onChange: (near, { bytes, maxBytes }) => {
        this.#reason = near
          ? `the event stream is nearly full: ${bytes} of ${maxBytes} bytes wait for the projection`
          : "";
        if (near) bus.logger.warn({ bytes, maxBytes }, "event stream nearly full: new jobs are refused");
        else bus.logger.info({ bytes, maxBytes }, "event stream has room again");
      },
    });
  }

  /** Empty while there is room. */
  get reason(): string {
    return this.#reason;
  }

  /** @throws MillraceError unavailable */
  admit(): void {
    if (this.#reason !== "") throw new MillraceError("unavailable", this.#reason, { retryAfterMs: 5000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }
}
