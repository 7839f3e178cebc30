import { createHash, timingSafeEqual } from "node:crypto";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { errors } from "jose";
import { csrfHeader, IdentityRuntimeService, readCookie, sessionCookies } from "@millrace/protocol";
import {
  anonymous,
  createClient,
  csrfTokenOf,
  type CallContext,
  type ConnectError,
  type Identity,
  type RpcTransport,
} from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import { BoundedCache } from "./bounded-cache.ts";
import { KeyRing } from "./key-ring.ts";
import type { Admission } from "./admit-calls.ts";
import type { Refusals } from "./refusals.ts";
import { RevocationFeed } from "./revocation-feed.ts";
import { verifyAccessToken, type KnownCaller } from "./verify-access-token.ts";

/** Callers known at once. Each costs about 2 kB; beyond, the oldest is verified again. */
const cacheSize = 10_000;
/** Verifications at once, of tokens not known yet: strangers choose how many. */
const maxVerifying = 256;
/** Longer than any token that identity makes. */
const maxTokenChars = 4_096;
/** An API token is looked up again after so long; a revocation is heard of long before. */
const apiTokenMs = 30_000;
const lookUpTimeoutMs = 3_000;
/** While it cannot be looked up again, what was known of a caller counts for so long, if revocations are heard. */
const staleMs = 5 * 60_000;
/** Then it is tried again after so long. */
const lookUpAgainMs = 2_000;
/** A look-up that takes longer says that identity is slow. */
const slowMs = 1_000;
const apiTokenForm = /^mr_[A-Za-z0-9_-]{20,128}$/;
const bearer = /^Bearer +([^ ]+) *$/i;

/** Says who calls, by access token, API token or the cookie of a browser. */
export class Authenticator implements AsyncDisposable {
  readonly #refusals: Refusals;
  readonly #secureCookies: boolean;
  /** The public keys of access tokens. */
  readonly keys: KeyRing;
  readonly #client;
  readonly #revoked: RevocationFeed;
  readonly #known = new BoundedCache<string, KnownCaller>(cacheSize);
  /** The oldest first. */
  readonly #pending = new Map<string, { readonly since: number; readonly caller: Promise<KnownCaller> }>();
  /** The last look-up had no answer. */
  #unanswered = false;
  /** Those that calls were given, for as long as a call has one. */
  readonly #callers = new WeakMap<Identity, KnownCaller>();
  /** How often the callers were forgotten. */
  #forgotten = 0;
  readonly #strangers: Pick<Admission, "stranger" | "forgive">;

  /**
   * @param options.secureCookies only cookies that a browser ties to this host count
   * @param options.strangers asked before credentials that are not known are looked into, which costs; throws to refuse
   * @param options.onNews told when some of those who were let in may not go on
   */
  constructor(
    transport: RpcTransport,
    refusals: Refusals,
    logger: Logger,
    options: {
      readonly secureCookies: boolean;
      readonly strangers: Pick<Admission, "stranger" | "forgive">;
      readonly onNews: () => void;
    },
  ) {
    this.#secureCookies = options.secureCookies;
    this.#refusals = refusals;
    this.#strangers = options.strangers;
    this.keys = new KeyRing(transport);
    this.#client = createClient(IdentityRuntimeService, transport);
    // Which of the secrets in the cache they belong to is not worth an index: it happens rarely.
    this.#revoked = new RevocationFeed(transport, logger, ({ tokenIds, users }) => {
      if (tokenIds.length + users.length > 0) {
        this.#forgotten++;
        this.#known.clear();
      }
      options.onNews();
    });
  }

  /**
   * The caller, at once where the token is known; `anonymous` without credentials.
   * @throws ConnectError unauthenticated, permission_denied (CSRF) or unavailable
   */
  identify(call: CallContext): Identity | Promise<Identity> {
    const header = call.header("authorization");
    if (header !== undefined) {
      const token = bearer.exec(header)?.[1];
      if (token === undefined) throw this.#refusals.unauthenticated("invalid_token");
      return this.#identifyToken(call, token);
    }
    const cookie = readCookie(call.header("cookie"), sessionCookies.access, this.#secureCookies);
    if (cookie === undefined || cookie === "") return anonymous;
    this.#checkCsrf(call, cookie);
    return this.#identifyToken(call, cookie);
  }

  /** Why somebody who was let in may not go on; undefined while they may, and for callers without credentials. */
  standing(identity: Identity): ConnectError | undefined {
    const known = this.#callers.get(identity);
    if (known === undefined) return undefined;
    if (known.endsAtMs <= Date.now()) return this.#refusals.unauthenticated("unauthenticated");
    const refusal = this.#refusalOf(known);
    if (refusal !== undefined || identity.tokenId === "") return refusal;
    // The token may hold still, and give less: who comes again is told.
    return this.#revoked.changedUser(identity.subject, known.issuedAtMs)
      ? this.#refusals.away("revoked", "what the caller may do has changed")
      : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#revoked[Symbol.asyncDispose]();
    await Promise.allSettled([...this.#pending.values()].map(({ caller }) => caller));
  }

  #identifyToken(call: CallContext, token: string): Identity | Promise<Identity> {
    const known = this.#known.get(token);
    if (known !== undefined && known.expiresAtMs > Date.now()) return this.#admit(known);
    if (token.length > maxTokenChars) throw this.#refusals.unauthenticated("invalid_token");
    if (known !== undefined && known.endsAtMs > Date.now()) return this.#meetAgain(token, known);
    return this.#meet(call, token);
  }

  /** Who was let in before is no stranger. While identity is away what is known counts on: an end of it would be heard of. */
  async #meetAgain(token: string, known: KnownCaller): Promise<Identity> {
    try {
      return this.#admit(await (this.#pending.get(token)?.caller ?? this.#learn(token, undefined)));
    } catch (reason) {
      const now = Date.now();
      const counts = now - known.issuedAtMs < staleMs && known.endsAtMs > now && this.#known.get(token) === known;
      if (!this.#refusals.isAway(reason) || !counts) throw reason;
      this.#known.set(token, { ...known, expiresAtMs: Math.min(known.endsAtMs, now + lookUpAgainMs) });
      return this.#admit(known);
    }
  }

  async #meet(call: CallContext, token: string): Promise<Identity> {
    // However many calls bring it, a token is looked into once, and costs once.
    const pending = this.#pending.get(token);
    try {
      return this.#admit(await (pending?.caller ?? this.#learn(token, call)));
    } catch (reason) {
      // Whoever asked first had no room; that says nothing of this caller.
      if (pending === undefined || !this.#refusals.isLimit(reason)) throw reason;
      return this.#admit(await (this.#pending.get(token)?.caller ?? this.#learn(token, call)));
    }
  }

  /** The last word, on every call: a caller may have been known for minutes. */
  #admit(known: KnownCaller): Identity {
    const refusal = this.#refusalOf(known);
    if (refusal !== undefined) throw refusal;
    return known.identity;
  }

  #refusalOf({ identity, issuedAtMs }: KnownCaller): ConnectError | undefined {
    const revoked = this.#revoked;
    if (!revoked.hears) return this.#refusals.away("identity_away", "it cannot be told who calls");
    const ended =
      identity.tokenId === ""
        ? revoked.endedSession(identity.sessionId, identity.subject, issuedAtMs)
        : revoked.endedToken(identity.tokenId);
    return ended ? this.#refusals.unauthenticated("revoked") : undefined;
  }

  /** @param stranger the call that pays for it */
  #learn(token: string, stranger: CallContext | undefined): Promise<KnownCaller> {
    if (this.#pending.size >= maxVerifying) throw this.#refusals.away("overloaded", "too many new callers at once");
    const forgotten = this.#forgotten;
    const caller = this.#verifyFor(token, stranger)
      .then((known) => {
        this.#callers.set(known.identity, known);
        // What ended meanwhile may not have been in the answer yet.
        if (forgotten === this.#forgotten) this.#known.set(token, known);
        return known;
      })
      .finally(() => this.#pending.delete(token));
    this.#pending.set(token, { since: performance.now(), caller });
    return caller;
  }

  async #verifyFor(token: string, stranger: CallContext | undefined): Promise<KnownCaller> {
    if (stranger !== undefined) await this.#admitStranger(stranger);
    try {
      const known = await this.#verify(token);
      this.#unanswered = false;
      return known;
    } catch (reason) {
      this.#unanswered = this.#refusals.isAway(reason);
      // Nobody has failed: nothing was looked into.
      if (this.#unanswered && stranger !== undefined) this.#strangers.forgive(stranger);
      throw reason;
    }
  }

  async #admitStranger(call: CallContext): Promise<void> {
    try {
      await this.#strangers.stranger(call);
    } catch (reason) {
      if (!this.#refusals.isLimit(reason) || !this.#isSlow()) throw reason;
      // They would have been looked into long ago, and given back what they cost.
      throw this.#refusals.away("identity_away", "it cannot be told who calls", reason);
    }
  }

  /** Whether credentials wait for identity longer than they should, or have just waited in vain. */
  #isSlow(): boolean {
    if (this.#unanswered) return true;
    const [oldest] = this.#pending.values();
    return oldest !== undefined && performance.now() - oldest.since > slowMs;
  }

  async #verify(token: string): Promise<KnownCaller> {
    if (apiTokenForm.test(token)) return this.#lookUp(token);
    try {
      return await verifyAccessToken(token, this.keys);
    } catch (reason) {
      if (reason instanceof errors.JOSEError) throw this.#refusals.unauthenticated("invalid_token", reason);
      throw this.#refusals.away("identity_away", "it cannot be told who calls", reason);
    }
  }

  async #lookUp(token: string): Promise<KnownCaller> {
    const now = Date.now();
    const secretHash = createHash("sha256").update(token).digest();
    const { caller, undecided } = await this.#client
      .findToken({ secretHash }, { timeoutMs: lookUpTimeoutMs })
      .catch((reason) => {
        throw this.#refusals.away("identity_away", "it cannot be told who calls", reason);
      });
    if (undecided) throw this.#refusals.away("identity_away", "it cannot be told who calls");
    if (caller === undefined) throw this.#refusals.unauthenticated("invalid_token");
    const endsAtMs = caller.expiresAt === undefined ? Number.POSITIVE_INFINITY : timestampMs(caller.expiresAt);
    const { userId, email, permissions, queues, types, tokenId } = caller;
    return {
      identity: { subject: userId, email, permissions: new Set(permissions), queues, types, tokenId, sessionId: "" },
      // When it was asked for: news that came before the answer may not be in it.
      issuedAtMs: now,
      expiresAtMs: Math.min(endsAtMs, now + apiTokenMs),
      endsAtMs,
    };
  }

  /** A browser sends cookies with requests that other sites make it do; the token it does not. */
  #checkCsrf(call: CallContext, cookie: string): void {
    if (call.requestMethod === "GET" || call.requestMethod === "HEAD") return;
    const given = Buffer.from(call.header(csrfHeader) ?? "");
    const expected = Buffer.from(csrfTokenOf(cookie));
    if (given.byteLength === expected.byteLength && timingSafeEqual(given, expected)) return;
    throw this.#refusals.denied("csrf", `the header ${csrfHeader} is missing or wrong`);
  }
}
