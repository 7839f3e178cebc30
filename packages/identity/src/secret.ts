import { createHash, randomBytes } from "node:crypto";

/** Of every secret that lets somebody in. */
const secretBytes = 32;

/** API tokens begin with it, so that they are found where they should not be. */
export const apiTokenPrefix = "mr_";

/** 256 random bits as text that fits a URL. */
export function newSecret(prefix = ""): string {
  return prefix + randomBytes(secretBytes).toString("base64url");
}

/** What is kept of a secret. Without salt or stretching: nobody guesses 256 random bits. */
export function hashSecret(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}
