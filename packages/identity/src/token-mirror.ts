import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { HeldToken, IdentityStore, Revocation } from "@millrace/store";

/** Tokens that are kept, the ones used or made last; each costs about 2 kB. */
const defaultMaxTokens = 20_000;
/** Tokens that another instance has made are looked for so often. */
const newEveryMs = 2_000;
/** Transactions may commit in another order than the times they write, by no more than this. */
const disorderMs = 10_000;

/**
 * The API tokens and their owners as they were last read: what callers are known by while the database is away. Its owner
 * calls one method at a time, so that what a reading found cannot undo what a later one has ended.
 */
export class TokenMirror {
  readonly #tokens: Pick<IdentityStore["apiTokens"], "listHeld">;
  readonly #maxTokens: number;
  readonly #now: () => number;
  /** By the hash of the secret; the ones read last at the end. */
  readonly #held = new Map<string, HeldToken>();
  /** Users who have changed and were not read again yet. */
  readonly #changed = new Set<string>();
  #newReadAt = 0;
  #hurried = false;

  /** @param options.now monotonic, ms */
  constructor(
    tokens: Pick<IdentityStore["apiTokens"], "listHeld">,
    { maxTokens = defaultMaxTokens, now = () => performance.now() }: { maxTokens?: number; now?: () => number } = {},
  ) {
    this.#tokens = tokens;
    this.#maxTokens = maxTokens;
    this.#now = now;
  }

  /** A token that holds, as far as is known. */
  find(secretHash: Uint8Array): HeldToken | undefined {
    const held = this.#held.get(keyOf(secretHash));
    const expiresAt = held?.token.expiresAt;
    return expiresAt !== undefined && timestampMs(expiresAt) <= Date.now() ? undefined : held;
  }

  /** A token was made here: the next `follow` reads it. */
  hurry(): void {
    this.#hurried = true;
  }

  /** Reads all of them. */
  async fill(): Promise<void> {
    const startedAt = this.#now();
    const all = await this.#tokens.listHeld("all", this.#maxTokens);
    this.#held.clear();
    this.#changed.clear();
    this.#keep(all.toReversed());
    this.#newReadAt = startedAt;
  }

  /** Forgets what has ended, and reads what has changed or come. */
  async follow(ended: readonly Revocation[]): Promise<void> {
    if (ended.length > 0) this.#forget(ended);
    if (this.#changed.size > 0) {
      const userIds = [...this.#changed];
      this.#keep(await this.#tokens.listHeld({ userIds }, this.#maxTokens));
      for (const id of userIds) this.#changed.delete(id);
    }
    const startedAt = this.#now();
    const sinceMs = startedAt - this.#newReadAt;
    if (sinceMs < newEveryMs && !this.#hurried) return;
    this.#hurried = false;
    this.#keep(await this.#tokens.listHeld({ madeWithinMs: sinceMs + disorderMs }, this.#maxTokens));
    this.#newReadAt = startedAt;
  }

  #forget(ended: readonly Revocation[]): void {
    const tokens = new Set<string>();
    const users = new Set<string>();
    for (const { kind, subject } of ended) {
      if (kind === "token") tokens.add(subject);
      else if (kind === "user") users.add(subject);
    }
    if (tokens.size + users.size === 0) return;
    for (const [key, { token, user }] of this.#held) {
      if (tokens.has(token.id) || users.has(user.id)) this.#held.delete(key);
    }
    for (const id of users) this.#changed.add(id);
  }

  #keep(read: readonly HeldToken[]): void {
    for (const one of read) {
      const key = keyOf(one.secretHash);
      this.#held.delete(key);
      this.#held.set(key, one);
    }
    for (const key of this.#held.keys()) {
      if (this.#held.size <= this.#maxTokens) break;
      this.#held.delete(key);
    }
  }
}

function keyOf(secretHash: Uint8Array): string {
  return Buffer.from(secretHash.buffer, secretHash.byteOffset, secretHash.byteLength).toString("base64");
}
