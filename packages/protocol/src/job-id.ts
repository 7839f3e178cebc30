import { headerNames } from "./headers.ts";
import { isJobId, isOwnJobId, ownIdPrefix } from "./names.ts";

/** Where a log holds a message. */
export interface LogPlace {
  readonly stream: string;
  readonly seq: number;
  /** When the stream stored it, Unix ms, by the broker's clock. */
  readonly timestampMs: number;
}

/**
 * The id of a job, as worker, projector and everybody else finds it: in the subject, else in `Millrace-Id`, else the message id of
 * a bare publish, else made from the message's place. What is no id in a header is passed over; one in a subject is for the caller
 * to refuse.
 */
export function jobIdOf(
  subjectId: string | undefined,
  header: (name: string) => string | undefined,
  place: LogPlace,
): string {
  if (subjectId !== undefined) return subjectId;
  const given = header(headerNames.id);
  if (given !== undefined && isJobId(given)) return given;
  const messageId = header(headerNames.messageId);
  // Ids that Millrace makes by a rule could be foreseen: a bare publish cannot claim one.
  if (messageId !== undefined && isJobId(messageId) && !isOwnJobId(messageId)) return messageId;
  return deriveJobId(place);
}

/**
 * The id of a job whose publisher left it out. The broker's timestamp keeps ids apart when a stream, or its numbers, begin anew.
 */
export function deriveJobId({ stream, seq, timestampMs }: LogPlace): string {
  const level = stream.slice(stream.lastIndexOf("_") + 1, stream.lastIndexOf("_") + 2).toLowerCase();
  return `${ownIdPrefix}${level}${timestampMs.toString(36)}-${seq.toString(36)}`;
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
