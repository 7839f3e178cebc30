import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { MillraceError, WatchRevocationsResponseSchema, type WatchRevocationsResponse } from "@millrace/protocol";
import type { IdentityStore, Revocation } from "@millrace/store";

/** Transactions may commit in another order than they got their numbers in, by no more than this. */
const disorderMs = 10_000;
/** Messages that a watcher may be behind before it is cut; it comes again, and gets everything. */
const maxBehind = 1_000;

interface Watcher {
  readonly queue: WatchRevocationsResponse[];
  wake: () => void;
  cut: boolean;
}

/** Tells every watcher what ended, here or at another instance, within the time of one poll. */
export class RevocationFeed implements AsyncDisposable {
  readonly #revocations: IdentityStore["revocations"];
  readonly #pollMs: number;
  readonly #rememberMs: number;
  readonly #onError: (error: unknown) => void;
  readonly #watchers = new Set<Watcher>();
  #seen = new Set<number>();
  #readAt = Date.now();
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #closed = false;

  /** @param rememberMs what an access token lives: older revocations say nothing any more */
  constructor(
    revocations: IdentityStore["revocations"],
    options: { pollMs: number; rememberMs: number; onError: (error: unknown) => void },
  ) {
    this.#revocations = revocations;
    this.#pollMs = options.pollMs;
    this.#rememberMs = options.rememberMs;
    this.#onError = options.onError;
  }

  /** Something was revoked here: watchers hear of it at once. */
  poke(): void {
    if (this.#watchers.size === 0 || this.#closed) return;
    if (this.#reading === undefined) this.#reading = this.#read();
    else this.#again = true;
  }

  /** First everything that still matters, then what comes. */
  async *watch(signal: AbortSignal): AsyncGenerator<WatchRevocationsResponse> {
    const watcher: Watcher = { queue: [], wake: () => undefined, cut: this.#closed };
    this.#watchers.add(watcher);
    const onAbort = (): void => watcher.wake();
    signal.addEventListener("abort", onAbort);
    try {
      yield toMessage(await this.#revocations.listRecent(this.#rememberMs), true);
      this.#schedule();
      while (!signal.aborted) {
        const next = watcher.queue.shift();
        if (next !== undefined) yield next;
        else if (watcher.cut) throw new MillraceError("unavailable", "the feed has ended: watch again");
        else await new Promise<void>((resolve) => (watcher.wake = resolve));
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#watchers.delete(watcher);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers) {
      watcher.cut = true;
      watcher.wake();
    }
    await this.#reading;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#watchers.size > 0 && !this.#closed) this.#timer = setTimeout(() => this.poke(), this.#pollMs);
  }

  async #read(): Promise<void> {
    try {
      const startedAt = Date.now();
      const recent = await this.#revocations.listRecent(startedAt - this.#readAt + disorderMs);
      this.#readAt = startedAt;
      const fresh = recent.filter(({ seq }) => !this.#seen.has(seq));
      this.#seen = new Set(recent.map(({ seq }) => seq));
      if (fresh.length > 0) this.#tell(toMessage(fresh, false));
    } catch (error) {
      // The next poll reads from where this one should have.
      this.#onError(error);
    }
    this.#reading = undefined;
    if (!this.#again) return this.#schedule();
    this.#again = false;
    this.poke();
  }

  #tell(message: WatchRevocationsResponse): void {
    for (const watcher of this.#watchers) {
      if (watcher.queue.length >= maxBehind) watcher.cut = true;
      else watcher.queue.push(message);
      watcher.wake();
    }
  }
}

function toMessage(revocations: readonly Revocation[], complete: boolean): WatchRevocationsResponse {
  const of = (kind: Revocation["kind"]): Revocation[] => revocations.filter((one) => one.kind === kind);
  return create(WatchRevocationsResponseSchema, {
    sessionIds: of("session").map(({ subject }) => subject),
    users: of("user").map(({ subject, atMs }) => ({ userId: subject, issuedBefore: timestampFromMs(atMs) })),
    tokenIds: of("token").map(({ subject }) => subject),
    complete,
  });
}
