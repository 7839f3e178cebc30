import { setTimeout as delay } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  backoffDelayMs,
  IdentityRuntimeService,
  type BackoffPolicy,
  type WatchRevocationsResponse,
} from "@millrace/protocol";
import { createClient, type RpcTransport } from "@millrace/rpc";
import { RecentMap } from "./recent-map.ts";
import type { Logger } from "@millrace/service-kit";

const retry: BackoffPolicy = { kind: "exponential", baseMs: 50, maxMs: 1_000, jitter: 0.3 };
/** A gateway that has not heard of revocations for so long lets nobody in: a thief's token may be among them. */
const deafAfterMs = 30_000;

/** Longer than an access token lives, or an API token is known without being looked up: what ended before is refused anyway. */
const rememberMs = 20 * 60_000;

/** Follows what does not hold any more. */
export class RevocationFeed implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #onNews: (news: WatchRevocationsResponse) => void;
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  readonly #sessions = new RecentMap<true>(rememberMs);
  /** Since the epoch, ms: what was issued before is void, and when that was heard by the clock of this machine. */
  readonly #users = new RecentMap<{ readonly issuedBeforeMs: number; readonly heardAtMs: number }>(rememberMs);
  readonly #tokens = new RecentMap<true>(rememberMs);
  /** On the clock of `performance.now()`; undefined while it hears. */
  #deafSince: number | undefined = performance.now();

  /** @param onNews told of what does not hold any more, once that is known here */
  constructor(transport: RpcTransport, logger: Logger, onNews: (news: WatchRevocationsResponse) => void) {
    this.#logger = logger;
    this.#onNews = onNews;
    this.#ended = this.#follow(transport);
  }

  /** Whether what it knows is recent enough to let somebody in. */
  get hears(): boolean {
    return this.#deafSince === undefined || performance.now() - this.#deafSince < deafAfterMs;
  }

  /** @param issuedAtMs since the epoch */
  endedSession(sessionId: string, userId: string, issuedAtMs: number): boolean {
    return this.#sessions.get(sessionId) === true || issuedAtMs < (this.#users.get(userId)?.issuedBeforeMs ?? 0);
  }

  /** Whether it was heard since that the user may do other things than before. @param sinceMs since the epoch, by this machine */
  changedUser(userId: string, sinceMs: number): boolean {
    return sinceMs <= (this.#users.get(userId)?.heardAtMs ?? 0);
  }

  endedToken(tokenId: string): boolean {
    return this.#tokens.get(tokenId) === true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  async #follow(transport: RpcTransport): Promise<void> {
    const { signal } = this.#abort;
    const client = createClient(IdentityRuntimeService, transport);
    for (let failures = 0; !signal.aborted;) {
      try {
        for await (const news of client.watchRevocations({}, { signal })) {
          this.#take(news);
          this.#deafSince = undefined;
          failures = 0;
        }
      } catch (err) {
        if (signal.aborted) return;
        if (failures === 0) this.#logger.warn({ err }, "does not hear of revocations");
      }
      this.#deafSince ??= performance.now();
      failures++;
      await delay(backoffDelayMs(retry, failures, Math.random()), undefined, { signal }).catch(() => undefined);
    }
  }

  // A complete message repeats what may have been missed: what ended stays so.
  #take(news: WatchRevocationsResponse): void {
    for (const id of news.sessionIds) this.#sessions.set(id, true);
    const heardAtMs = Date.now();
    for (const { userId, issuedBefore } of news.users) {
      const issuedBeforeMs = issuedBefore === undefined ? 0 : timestampMs(issuedBefore);
      if (issuedBeforeMs > (this.#users.get(userId)?.issuedBeforeMs ?? 0)) {
        this.#users.set(userId, { issuedBeforeMs, heardAtMs });
      }
    }
    for (const id of news.tokenIds) this.#tokens.set(id, true);
    this.#onNews(news);
  }
}
