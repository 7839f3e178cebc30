import { BusMessage, replyBytes } from "./bus-message.ts";

const dot = 46;
const zero = 48;
/** Tokens of the reply: `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<ns>.<pending>`. */
const oldTokens = 9;
/** Newer brokers put `<domain>.<account>` after ACK, and may say more at the end. */
const newShift = 2;
const streamToken = 2;
const deliveredToken = 4;
/** The timestamp has 19 digits, which no number holds: its first 13 are milliseconds. */
const nsInMs = 6;

/** What a reply subject says of the delivery. */
interface Place {
  readonly delivered: number;
  readonly seq: number;
  readonly consumerSeq: number;
  readonly timestampMs: number;
  readonly pending: number;
}

/** A message of a stream, delivered by a consumer. Its place is read from the reply subject when it is asked for. */
export class Delivery extends BusMessage {
  #place: Place | undefined;

  /** The reply subject as it came, for `Bus.ackAll`. */
  get replyBytes(): Uint8Array {
    return replyBytes(this.source);
  }

  get stream(): string {
    const stream = this.#name(0);
    return this.namespace === undefined ? stream : this.namespace.ownStream(stream);
  }

  get consumer(): string {
    return this.#name(1);
  }

  /** 1 at the first delivery. */
  get delivered(): number {
    return this.#read().delivered;
  }

  /** Its sequence in the stream. */
  get seq(): number {
    return this.#read().seq;
  }

  get consumerSeq(): number {
    return this.#read().consumerSeq;
  }

  /** When the stream stored it, Unix ms. */
  get timestampMs(): number {
    return this.#read().timestampMs;
  }

  /** How many more the consumer had at this moment. */
  get pending(): number {
    return this.#read().pending;
  }

  #name(index: number): string {
    const tokens = this.reply.split(".");
    return tokens[streamToken + index + (tokens.length > oldTokens ? newShift : 0)] ?? "";
  }

  #read(): Place {
    return (this.#place ??= readPlace(this.replyBytes));
  }
}

/** From the bytes: each delivery is asked for its numbers, and a string and its parts would cost several times as much. */
function readPlace(reply: Uint8Array): Place {
  let tokens = 1;
  for (const byte of reply) if (byte === dot) tokens++;
  let skip = deliveredToken + (tokens > oldTokens ? newShift : 0);
  let at = 0;
  while (skip > 0 && at < reply.length) if (reply[at++] === dot) skip--;
  const next = (unread = 0): number => {
    let end = at;
    while (end < reply.length && reply[end] !== dot) end++;
    let value = 0;
    for (let i = at; i < end - unread; i++) value = value * 10 + ((reply[i] ?? zero) - zero);
    at = end + 1;
    return value;
  };
  return { delivered: next(), seq: next(), consumerSeq: next(), timestampMs: next(nsInMs), pending: next() };
}
