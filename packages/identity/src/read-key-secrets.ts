import { readFile, stat } from "node:fs/promises";
import { MillraceError } from "@millrace/protocol";
import { ConfigError } from "@millrace/service-kit";
import { keySecretBytes } from "./key-cipher.ts";

const othersMay = 0o077;
const hexForm = /^[0-9a-f]+$/i;
const base64Form = /^[A-Za-z0-9+/_-]+={0,2}$/;

/** While one takes the place of another there are two; more are a mistake. */
const mostSecrets = 4;

/**
 * The secret that signing keys are encrypted with, and after it those that they may still be encrypted with; none when they are
 * stored in plain.
 * @throws ConfigError for what is no secret, MillraceError `permission_denied` for a file that others may read
 */
export async function readKeySecrets(values: {
  readonly keySecret?: string | undefined;
  readonly keySecretFile?: string | undefined;
}): Promise<readonly Uint8Array[]> {
  const { keySecret, keySecretFile } = values;
  if (keySecret !== undefined) return parse(keySecret, "keySecret", "MILLRACE_KEY_SECRET");
  if (keySecretFile === undefined) return [];
  return parse(await readOwnFile(keySecretFile), "keySecretFile", keySecretFile);
}

async function readOwnFile(path: string): Promise<string> {
  try {
    const { mode } = await stat(path);
    if (process.platform !== "win32" && (mode & othersMay) !== 0) {
      throw new MillraceError("permission_denied", `${path} may be read by others; chmod 600 ${path}`);
    }
    return await readFile(path, "utf8");
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause;
    throw new MillraceError("permission_denied", `cannot read ${path}`, { cause });
  }
}

function parse(text: string, key: string, origin: string): readonly Uint8Array[] {
  const secrets = text.trim().split(/\s+/).map(secretOf);
  const whole = secrets.filter((secret) => secret !== undefined);
  if (whole.length === secrets.length && whole.length <= mostSecrets) return whole;
  const reason = `must be ${keySecretBytes} random bytes in base64 or hex, or up to ${mostSecrets} of that, newest first`;
  throw new ConfigError([{ key, origin, reason }]);
}

function secretOf(word: string): Uint8Array | undefined {
  // 64 letters are hex, as base64 of 32 bytes has 43 or 44.
  const isHex = word.length === 2 * keySecretBytes && hexForm.test(word);
  const secret = isHex ? Buffer.from(word, "hex") : Buffer.from(base64Form.test(word) ? word : "", "base64");
  return secret.byteLength === keySecretBytes ? secret : undefined;
}
