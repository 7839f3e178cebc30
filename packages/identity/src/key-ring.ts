import type { JsonValue } from "@bufbuild/protobuf";
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

/** The one algorithm of access tokens (RFC 8037); a token with another is refused. */
const algorithm = "EdDSA";
/** A new key is published for so long before it signs, so that every gateway knows it by then. */
const publishAheadMs = 120_000;

interface Signer {
  readonly kid: string;
  readonly key: CryptoKey;
}

/** The keys of access tokens: one signs, and those before it stay published for a while. */
export class KeyRing {
  readonly #keys: IdentityStore["signingKeys"];
  readonly #keyMs: number;
  readonly #overlapMs: number;
  readonly #now: () => number;
  #signer: Signer | undefined;

  constructor(
    keys: IdentityStore["signingKeys"],
    { keyMs, overlapMs, now = Date.now }: { keyMs: number; overlapMs: number; now?: () => number },
  ) {
    this.#keys = keys;
    this.#keyMs = keyMs;
    this.#overlapMs = overlapMs;
    this.#now = now;
  }

  /** Makes a key when the newest is old, and takes those away that nothing unexpired was signed with. */
  async rotate(): Promise<void> {
    let stored = await this.#keys.list();
    const newest = stored[0];
    if (newest === undefined || this.#now() - newest.createdAtMs > this.#keyMs) {
      await this.#keys.insert({ ...(await newKey()), createdAtMs: this.#now() });
      stored = await this.#keys.list();
    }
    for (const [index, { kid }] of stored.entries()) {
      const successor = stored[index - 1];
      if (successor !== undefined && this.#now() - successor.createdAtMs > this.#overlapMs) {
        await this.#keys.delete(kid);
      }
    }
    const settled = stored.find(({ createdAtMs }) => this.#now() - createdAtMs > publishAheadMs) ?? stored.at(-1);
    if (settled !== undefined && settled.kid !== this.#signer?.kid) this.#signer = await signerOf(settled);
  }

  /** A signed JWT (RFC 7519). */
  async sign(claims: JWTPayload): Promise<string> {
    const signer = this.#signer;
    if (signer === undefined) throw new Error("the key ring has not been filled");
    return new SignJWT(claims).setProtectedHeader({ alg: algorithm, typ: "JWT", kid: signer.kid }).sign(signer.key);
  }

  /** The public keys, as a JWK set (RFC 7517). */
  async jwks(): Promise<string> {
    const stored = await this.#keys.list();
    return JSON.stringify({ keys: stored.map(publicJwk) });
  }
}

async function newKey(): Promise<{ readonly kid: string; readonly privateJwk: JsonValue }> {
  const { privateKey } = await generateKeyPair(algorithm, { crv: "Ed25519", extractable: true });
  const jwk = await exportJWK(privateKey);
  return { kid: await calculateJwkThumbprint(jwk), privateJwk: { ...jwk } as JsonValue };
}

async function signerOf({ kid, privateJwk }: StoredSigningKey): Promise<Signer> {
  const key = await importJWK(privateJwk as JWK, algorithm);
  if (key instanceof Uint8Array) throw new TypeError(`signing key ${kid} is not asymmetric`);
  return { kid, key };
}

function publicJwk({ kid, privateJwk }: StoredSigningKey): Record<string, unknown> {
  const { kty, crv, x } = privateJwk as JWK;
  // Named one by one: what is not public cannot slip through.
  return { kty, crv, x, kid, alg: algorithm, use: "sig" };
}
