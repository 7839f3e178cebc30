import { anonymous, type CallContext, type ConnectError, type Identity } from "@millrace/rpc";
import { limitKey } from "./caller-address.ts";
import type { Refusals } from "./refusals.ts";

/** Open streams of one user; the pipeline has room for ten times as many. */
const maxPerUser = 500;
/** Of one address, where nobody says who calls: health is watched so. */
const maxPerStranger = 100;
/** Of all those together. */
const maxOfStrangers = 1_000;
const sweepMs = 1_000;

/** Who was let in once must not stay for ever: streams end when their caller may not open them any more, and each has its share. */
export class OpenStreams implements Disposable {
  readonly #refusals: Refusals;
  readonly #addressOf: (call: CallContext) => string;
  readonly #calls = new Set<CallContext>();
  readonly #counts = new Map<string, number>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #standing: (identity: Identity) => ConnectError | undefined;
  #strangers = 0;

  /** @param standing says why a caller may not go on; undefined while it may */
  constructor(
    addressOf: (call: CallContext) => string,
    refusals: Refusals,
    standing: (identity: Identity) => ConnectError | undefined,
  ) {
    this.#standing = standing;
    this.#addressOf = addressOf;
    this.#refusals = refusals;
    this.#sweeper = setInterval(() => this.check(), sweepMs);
    this.#sweeper.unref();
  }

  /**
   * Follows a stream until what it returns is disposed.
   * @throws ConnectError resource_exhausted when the caller has too many
   */
  open(call: CallContext): Disposable {
    const stranger = call.identity === anonymous;
    const key = stranger ? `address:${limitKey(this.#addressOf(call))}` : `user:${call.identity.subject}`;
    const count = this.#counts.get(key) ?? 0;
    const full = stranger ? count >= maxPerStranger || this.#strangers >= maxOfStrangers : count >= maxPerUser;
    if (full) throw this.#refusals.limited("streams", "too many open streams", { "retry-after": "1" });
    this.#counts.set(key, count + 1);
    if (stranger) this.#strangers += 1;
    else this.#calls.add(call);
    return {
      [Symbol.dispose]: () => {
        const left = (this.#counts.get(key) ?? 1) - 1;
        if (left === 0) this.#counts.delete(key);
        else this.#counts.set(key, left);
        if (stranger) this.#strangers -= 1;
        else this.#calls.delete(call);
      },
    };
  }

  /** Ends the streams whose callers may not go on. */
  check(): void {
    for (const call of this.#calls) {
      const error = this.#standing(call.identity);
      if (error === undefined) continue;
      this.#calls.delete(call);
      call.abort(error);
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper);
  }
}
