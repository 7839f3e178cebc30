import { createLocalJWKSet, errors, type FlattenedJWSInput, type JSONWebKeySet, type JWSHeaderParameters } from "jose";
import { IdentityRuntimeService } from "@millrace/protocol";
import { createClient, type RpcTransport } from "@millrace/rpc";

/** An unknown key id makes the keys be asked for again, but not more often: strangers choose key ids. */
const refetchAfterMs = 5_000;
/** A key that was taken away counts for so long at most. */
const staleAfterMs = 5 * 60_000;
const fetchTimeoutMs = 3_000;
/** What is shown to others is no older, as long as identity answers: a new key signs two minutes after it is published. */
const showForMs = 30_000;

type KeySet = ReturnType<typeof createLocalJWKSet>;

/** The public keys of access tokens, as identity publishes them. */
export class KeyRing {
  readonly #client;
  readonly #now: () => number;
  #keys: KeySet | undefined;
  #text: string | undefined;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #fetching: Promise<KeySet> | undefined;

  constructor(transport: RpcTransport, now: () => number = () => performance.now()) {
    this.#client = createClient(IdentityRuntimeService, transport);
    this.#now = now;
  }

  /**
   * The key that a token names.
   * @throws JWKSNoMatchingKey when there is no such key; ConnectError when identity does not answer
   */
  async find(header: JWSHeaderParameters | undefined, token: FlattenedJWSInput): Promise<CryptoKey> {
    if (typeof header?.kid !== "string") throw new errors.JWKSNoMatchingKey();
    const age = this.#now() - this.#fetchedAt;
    const keys = this.#keys === undefined || age > staleAfterMs ? await this.#fetch() : this.#keys;
    try {
      return await keys(header, token);
    } catch (reason) {
      if (!(reason instanceof errors.JWKSNoMatchingKey) || this.#now() - this.#fetchedAt < refetchAfterMs) throw reason;
      return await (
        await this.#fetch()
      )(header, token);
    }
  }

  /**
   * The JWK set (RFC 7517), for whoever else wants to check tokens. It is a bit old while identity does not answer.
   * @throws ConnectError when identity has never answered
   */
  async show(): Promise<string> {
    if (this.#text === undefined || this.#now() - this.#fetchedAt > showForMs) {
      try {
        await this.#fetch();
      } catch (reason) {
        if (this.#text === undefined) throw reason;
      }
    }
    return this.#text ?? "";
  }

  #fetch(): Promise<KeySet> {
    return (this.#fetching ??= this.#load().finally(() => (this.#fetching = undefined)));
  }

  async #load(): Promise<KeySet> {
    const { jwks } = await this.#client.getKeys({}, { timeoutMs: fetchTimeoutMs });
    this.#fetchedAt = this.#now();
    this.#text = jwks;
    return (this.#keys = createLocalJWKSet(JSON.parse(jwks) as JSONWebKeySet));
  }
}
