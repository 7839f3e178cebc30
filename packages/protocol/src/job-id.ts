import { ownIdPrefix } from "./names.ts";

/**
 * The id of a job whose publisher left it out. The worker (from the delivery) and the projector (from the republished
 * copy) compute the same one. The stream's creation time keeps ids apart when a stream is made anew and its
 * sequence begins at 1 again.
 */
export function deriveJobId(stream: string, streamCreatedMs: number, sequence: number): string {
  const level = stream.slice(stream.lastIndexOf("_") + 1, stream.lastIndexOf("_") + 2).toLowerCase();
  return `${ownIdPrefix}${level}${streamCreatedMs.toString(36)}-${sequence.toString(36)}`;
}

const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const random = new Uint8Array(4096);
let used = random.length;

/** A new id: 48 bits of Unix time and 80 random bits, in Crockford base32; sorts by time (ULID's layout). */
export function newJobId(nowMs: number = Date.now()): string {
  if (used + 16 > random.length) {
    crypto.getRandomValues(random);
    used = 0;
  }
  let id = "";
  let time = nowMs;
  for (let i = 0; i < 10; i++) {
    id = alphabet.charAt(time % 32) + id;
    time = Math.floor(time / 32);
  }
  for (const byte of random.subarray(used, used + 16)) id += alphabet.charAt(byte & 31);
  used += 16;
  return id;
}
