import { setTimeout as delay } from "node:timers/promises";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  backoffDelayMs,
  IdentityRuntimeService,
  type BackoffPolicy,
  type WatchRevocationsResponse,
} from "@millrace/protocol";
import { createClient, type RpcTransport } from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";

const retry: BackoffPolicy = { kind: "exponential", baseMs: 50, maxMs: 1_000, jitter: 0.3 };
/** A gateway that has not heard of revocations for so long lets nobody in: a thief's token may be among them. */
const deafAfterMs = 30_000;

/** Follows what does not hold any more. */
export class RevocationFeed implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #onEnded: () => void;
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  #sessions = new Set<string>();
  #users = new Map<string, number>();
  #tokens = new Set<string>();
  /** On the clock of `performance.now()`; undefined while it hears. */
  #deafSince: number | undefined = performance.now();

  /** @param onEnded told when API tokens ended, or users may not do what they could: their tokens neither */
  constructor(transport: RpcTransport, logger: Logger, onEnded: () => void) {
    this.#logger = logger;
    this.#onEnded = onEnded;
    this.#ended = this.#follow(transport);
  }

  /** Whether what it knows is recent enough to let somebody in. */
  get hears(): boolean {
    return this.#deafSince === undefined || performance.now() - this.#deafSince < deafAfterMs;
  }

  /** @param issuedAtMs since the epoch */
  endedSession(sessionId: string, userId: string, issuedAtMs: number): boolean {
    return this.#sessions.has(sessionId) || issuedAtMs < (this.#users.get(userId) ?? 0);
  }

  endedToken(tokenId: string): boolean {
    return this.#tokens.has(tokenId);
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

  // Identity forgets what has expired anyway, so a complete message is also what keeps these small.
  #take({ sessionIds, users, tokenIds, complete }: WatchRevocationsResponse): void {
    if (complete) {
      this.#sessions = new Set();
      this.#users = new Map();
      this.#tokens = new Set();
    }
    for (const id of sessionIds) this.#sessions.add(id);
    for (const { userId, issuedBefore } of users) {
      if (issuedBefore !== undefined) this.#users.set(userId, timestampMs(issuedBefore));
    }
    for (const id of tokenIds) this.#tokens.add(id);
    if (tokenIds.length > 0 || users.length > 0) this.#onEnded();
  }
}
