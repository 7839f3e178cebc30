import type { JsonValue } from "@bufbuild/protobuf";
import { MillraceError } from "@millrace/protocol";
import type { StoredSigningKey } from "@millrace/store";
import { compactDecrypt, CompactEncrypt, errors, type JWK } from "jose";

/** The secret itself is the key of the content (RFC 7518, 4.5 and 5.3). */
const header = { alg: "dir", enc: "A256GCM" } as const;
/** What A256GCM takes. */
export const keySecretBytes = 32;

export interface OpenedKey {
  readonly jwk: JWK;
  /** It is not stored as it would be today. */
  readonly stale: boolean;
}

/** Turns signing keys into what is stored of them, and back: a JWE (RFC 7516) where there is a secret. */
export class KeyCipher {
  readonly #secrets: readonly Uint8Array[];

  /** @param secrets of 32 bytes: what the first one encrypts each of them opens; without any, keys are stored in plain */
  constructor(secrets: readonly Uint8Array[]) {
    const odd = secrets.find(({ byteLength }) => byteLength !== keySecretBytes);
    if (odd !== undefined) {
      throw new RangeError(`a secret of signing keys has ${keySecretBytes} bytes, not ${odd.byteLength}`);
    }
    this.#secrets = secrets;
  }

  async seal(kid: string, jwk: JWK): Promise<JsonValue> {
    const [secret] = this.#secrets;
    if (secret === undefined) return { ...jwk } as JsonValue;
    const plain = new TextEncoder().encode(JSON.stringify(jwk));
    return new CompactEncrypt(plain).setProtectedHeader({ ...header, kid }).encrypt(secret);
  }

  /** @throws MillraceError `failed_precondition` without the secret that the key was stored with */
  async open({ kid, privateJwk }: StoredSigningKey): Promise<OpenedKey> {
    if (typeof privateJwk !== "string") return { jwk: privateJwk as JWK, stale: this.#secrets.length > 0 };
    if (this.#secrets.length === 0) {
      throw new MillraceError(
        "failed_precondition",
        "the signing keys in the database are encrypted: MILLRACE_KEY_SECRET or MILLRACE_KEY_SECRET_FILE is needed",
      );
    }
    let cause: unknown;
    for (const [nth, secret] of this.#secrets.entries()) {
      try {
        return { jwk: await decrypt(kid, privateJwk, secret), stale: nth > 0 };
      } catch (error) {
        cause = error;
      }
    }
    throw new MillraceError(
      "failed_precondition",
      "the signing keys in the database were encrypted with another secret than the one given (MILLRACE_KEY_SECRET, " +
        "MILLRACE_KEY_SECRET_FILE, or key.secret in the data folder)",
      { cause },
    );
  }
}

async function decrypt(kid: string, jwe: string, secret: Uint8Array): Promise<JWK> {
  const { plaintext, protectedHeader } = await compactDecrypt(jwe, secret, {
    keyManagementAlgorithms: [header.alg],
    contentEncryptionAlgorithms: [header.enc],
  });
  if (protectedHeader["kid"] !== kid) throw new errors.JWEInvalid("it is of another key");
  return JSON.parse(new TextDecoder().decode(plaintext)) as JWK;
}
