import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { MillraceError, WatchRevocationsResponseSchema, type WatchRevocationsResponse } from "@millrace/protocol";
import type { IdentityStore, Revocation } from "@millrace/store";
import type { TokenMirror } from "./token-mirror.ts";

/** Transactions may commit in another order than they got their numbers in, by no more than this. */
const disorderMs = 10_000;
/** Messages that a watcher may be behind before it is cut; it comes again, and gets everything. */
const maxBehind = 1_000;
/** A reading that takes so long is one that the database does not answer. */
const slowMs = 2_000;

interface Watcher {
  readonly queue: WatchRevocationsResponse[];
  wake: () => void;
  cut: boolean;
}

interface Known {
  readonly revocation: Revocation;
  /** On the clock of `performance.now()`. */
  readonly learnedAt: number;
}

export interface RevocationFeedOptions {
  readonly pollMs: number;
  /** What an access token lives: older revocations say nothing any more. */
  readonly rememberMs: number;
  /** What was read holds for so long while the database does not answer. */
  readonly awayMs: number;
  readonly onError: (error: unknown) => void;
}

/**
 * Knows what ended, here or at another instance, within the time of one poll, and tells every watcher.
 *
 * While the database is away it goes on with what it has read: nobody can write a revocation then, so those that it knows
 * are all there are. That is not so where only this instance cannot reach the database, which looks the same from here:
 * therefore it ends after `awayMs`, and watchers are cut until the database answers.
 */
export class RevocationFeed implements AsyncDisposable {
  readonly #revocations: Pick<IdentityStore["revocations"], "listRecent">;
  readonly #mirror: Pick<TokenMirror, "fill" | "follow">;
  readonly #options: RevocationFeedOptions;
  readonly #watchers = new Set<Watcher>();
  readonly #known = new Map<number, Known>();
  /** When the last reading that came to its end began; on the clock of `performance.now()`. */
  #readAt = Number.NEGATIVE_INFINITY;
  #readingSince: number | undefined;
  #failed = false;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #again = false;
  #closed = false;

  /** @param mirror follows what the feed reads */
  constructor(
    revocations: Pick<IdentityStore["revocations"], "listRecent">,
    mirror: Pick<TokenMirror, "fill" | "follow">,
    options: RevocationFeedOptions,
  ) {
    this.#revocations = revocations;
    this.#mirror = mirror;
    this.#options = options;
  }

  /** Reads what there is, and follows it from here on. @throws MillraceError `unavailable` when there is no database */
  async start(): Promise<void> {
    await this.#readOnce();
    this.#schedule();
  }

  /** Whether the database does not answer. */
  get away(): boolean {
    return this.#failed || (this.#readingSince !== undefined && performance.now() - this.#readingSince > slowMs);
  }

  /** Whether what was read is recent enough to let somebody in. */
  get holds(): boolean {
    return performance.now() - this.#readAt < this.#options.awayMs;
  }

  /** Something was revoked here: watchers hear of it at once. */
  poke(): void {
    if (this.#closed) return;
    if (this.#reading === undefined) this.#reading = this.#read();
    else this.#again = true;
  }

  /** First everything that still matters, then what comes. */
  async *watch(signal: AbortSignal): AsyncGenerator<WatchRevocationsResponse> {
    if (!this.holds) throw new MillraceError("unavailable", "the database cannot be reached");
    const watcher: Watcher = { queue: [], wake: () => undefined, cut: this.#closed };
    this.#watchers.add(watcher);
    const onAbort = (): void => watcher.wake();
    signal.addEventListener("abort", onAbort);
    try {
      const known = [...this.#known.values()].map(({ revocation }) => revocation);
      yield toMessage(known, true);
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
    this.#cutAll();
    await this.#reading;
  }

  #cutAll(): void {
    for (const watcher of this.#watchers) {
      watcher.cut = true;
      watcher.wake();
    }
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => this.poke(), this.#options.pollMs);
  }

  async #read(): Promise<void> {
    try {
      await this.#readOnce();
    } catch (error) {
      // Said once; the next poll reads from where this one should have.
      if (!this.#failed) this.#options.onError(error);
      this.#failed = true;
      if (!this.holds) this.#cutAll();
    }
    this.#readingSince = undefined;
    this.#reading = undefined;
    if (!this.#again) return this.#schedule();
    this.#again = false;
    this.poke();
  }

  async #readOnce(): Promise<void> {
    const startedAt = performance.now();
    this.#readingSince = startedAt;
    const { rememberMs } = this.#options;
    const held = this.holds;
    const recent = await this.#revocations.listRecent(held ? startedAt - this.#readAt + disorderMs : rememberMs);
    const fresh = recent.filter(({ seq }) => !this.#known.has(seq));
    for (const revocation of fresh) this.#known.set(revocation.seq, { revocation, learnedAt: startedAt });
    for (const [seq, { learnedAt }] of this.#known) {
      if (startedAt - learnedAt > rememberMs + disorderMs) this.#known.delete(seq);
    }
    if (fresh.length > 0) this.#tell(toMessage(fresh, false));
    await (held ? this.#mirror.follow(fresh) : this.#mirror.fill());
    this.#readAt = startedAt;
    this.#readingSince = undefined;
    this.#failed = false;
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
