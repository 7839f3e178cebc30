import type { JsonValue } from "@bufbuild/protobuf";
import { MillraceError } from "@millrace/protocol";
import type { StoredSigningKey } from "@millrace/store";
import { compactDecrypt, CompactEncrypt, errors, type JWK } from "jose";

/** The secret itself is the key of the content (RFC 7518, 4.5 and 5.3). */
const header = { alg: "dir", enc: "A256GCM" } as const;
/** What A256GCM takes. */
export const keySecretBytes = 32;

/** Turns signing keys into what is stored of them, and back: a JWE (RFC 7516) where there is a secret. */
export class KeyCipher {
  readonly #secret: Uint8Array | undefined;

  /** @param secret 32 bytes; undefined: keys are stored in plain */
  constructor(secret: Uint8Array | undefined) {
    if (secret !== undefined && secret.byteLength !== keySecretBytes) {
      throw new RangeError(`the secret of signing keys has ${keySecretBytes} bytes, not ${secret.byteLength}`);
    }
    this.#secret = secret;
  }

  async seal(kid: string, jwk: JWK): Promise<JsonValue> {
    if (this.#secret === undefined) return { ...jwk } as JsonValue;
    const plain = new TextEncoder().encode(JSON.stringify(jwk));
    return new CompactEncrypt(plain).setProtectedHeader({ ...header, kid }).encrypt(this.#secret);
  }

  /** Whether a key should be stored in another form than it is. */
  isBare({ privateJwk }: StoredSigningKey): boolean {
    return this.#secret !== undefined && typeof privateJwk !== "string";
  }

  /** @throws MillraceError `failed_precondition` without the secret that the key was stored with */
  async open({ kid, privateJwk }: StoredSigningKey): Promise<JWK> {
    if (typeof privateJwk !== "string") return privateJwk as JWK;
    if (this.#secret === undefined) {
      throw new MillraceError(
        "failed_precondition",
        "the signing keys in the database are encrypted: MILLRACE_KEY_SECRET or MILLRACE_KEY_SECRET_FILE is needed",
      );
    }
    try {
      const { plaintext, protectedHeader } = await compactDecrypt(privateJwk, this.#secret, {
        keyManagementAlgorithms: [header.alg],
        contentEncryptionAlgorithms: [header.enc],
      });
      if (protectedHeader["kid"] !== kid) throw new errors.JWEInvalid("it is of another key");
      return JSON.parse(new TextDecoder().decode(plaintext)) as JWK;
    } catch (cause) {
      throw new MillraceError(
        "failed_precondition",
        "the signing keys in the database were encrypted with another secret than the one given (MILLRACE_KEY_SECRET, " +
          "MILLRACE_KEY_SECRET_FILE, or key.secret in the data folder)",
        { cause },
      );
    }
  }
}
