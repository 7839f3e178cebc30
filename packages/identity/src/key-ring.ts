import type { IdentityStore, StoredSigningKey } from "@millrace/store";
import {
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  SignJWT,
  type CryptoKey,
  type JWK,
  type JWTPayload,
} from "jose";
import { KeyCipher } from "./key-cipher.ts";

/** The one algorithm of access tokens (RFC 8037); a token with another is refused. */
const algorithm = "EdDSA";
/** A new key is published for so long before it signs, so that every gateway knows it by then. */
const publishAheadMs = 120_000;

interface OpenKey {
  readonly kid: string;
  readonly jwk: JWK;
  readonly createdAtMs: number;
}

interface Signer {
  readonly kid: string;
  readonly key: CryptoKey;
}

/**
 * The keys of access tokens: one signs, and those before it stay published for a while. They are in memory as they were read
 * last, so that tokens are made and checked while the database is away.
 */
export class KeyRing {
  readonly #keys: IdentityStore["signingKeys"];
  readonly #cipher: KeyCipher;
  readonly #keyMs: number;
  readonly #overlapMs: number;
  readonly #now: () => number;
  /** Newest first. */
  #published: readonly OpenKey[] = [];
  #signer: Signer | undefined;

  constructor(
    keys: IdentityStore["signingKeys"],
    {
      keyMs,
      overlapMs,
      cipher = new KeyCipher([]),
      now = Date.now,
    }: { keyMs: number; overlapMs: number; cipher?: KeyCipher; now?: () => number },
  ) {
    this.#keys = keys;
    this.#cipher = cipher;
    this.#keyMs = keyMs;
    this.#overlapMs = overlapMs;
    this.#now = now;
  }

  /**
   * Makes a key when the newest is old, takes those away that nothing unexpired was signed with, and encrypts anew those that are not stored as they should be.
   * @throws MillraceError `failed_precondition` when the keys were encrypted with another secret
   */
  async rotate(): Promise<void> {
    // Before a key is made: one with a wrong secret would be one more that others cannot read.
    let stored = await this.#open(await this.#keys.list());
    const newest = stored[0];
    if (newest === undefined || this.#now() - newest.createdAtMs > this.#keyMs) {
      const { kid, jwk } = await newKey();
      await this.#keys.insert({ kid, privateJwk: await this.#cipher.seal(kid, jwk), createdAtMs: this.#now() });
      stored = await this.#open(await this.#keys.list());
    }
    const kept: OpenKey[] = [];
    for (const [index, key] of stored.entries()) {
      const successor = stored[index - 1];
      if (successor === undefined || this.#now() - successor.createdAtMs <= this.#overlapMs) kept.push(key);
      else await this.#keys.delete(key.kid);
    }
    this.#published = kept;
    const settled = kept.find(({ createdAtMs }) => this.#now() - createdAtMs > publishAheadMs) ?? kept.at(-1);
    if (settled !== undefined && settled.kid !== this.#signer?.kid) this.#signer = await signerOf(settled);
  }

  async #open(stored: readonly StoredSigningKey[]): Promise<OpenKey[]> {
    const open: OpenKey[] = [];
    for (const key of stored) {
      const { kid, createdAtMs } = key;
      const known = this.#published.find((one) => one.kid === kid);
      const { jwk, stale } = known === undefined ? await this.#cipher.open(key) : { jwk: known.jwk, stale: false };
      if (stale) await this.#keys.replace(kid, await this.#cipher.seal(kid, jwk));
      open.push({ kid, jwk, createdAtMs });
    }
    return open;
  }

  /** A signed JWT (RFC 7519). */
  async sign(claims: JWTPayload): Promise<string> {
    const signer = this.#signer;
    if (signer === undefined) throw new Error("the key ring has not been filled");
    return new SignJWT(claims).setProtectedHeader({ alg: algorithm, typ: "JWT", kid: signer.kid }).sign(signer.key);
  }

  /** The public keys, as a JWK set (RFC 7517). */
  jwks(): string {
    return JSON.stringify({ keys: this.#published.map(publicJwk) });
  }
}

async function newKey(): Promise<{ readonly kid: string; readonly jwk: JWK }> {
  const { privateKey } = await generateKeyPair(algorithm, { crv: "Ed25519", extractable: true });
  const jwk = await exportJWK(privateKey);
  return { kid: await calculateJwkThumbprint(jwk), jwk };
}

async function signerOf({ kid, jwk }: OpenKey): Promise<Signer> {
  const key = await importJWK(jwk, algorithm);
  if (key instanceof Uint8Array) throw new TypeError(`signing key ${kid} is not asymmetric`);
  return { kid, key };
}

function publicJwk({ kid, jwk: { kty, crv, x } }: OpenKey): Record<string, unknown> {
  // Named one by one: what is not public cannot slip through.
  return { kty, crv, x, kid, alg: algorithm, use: "sig" };
}
