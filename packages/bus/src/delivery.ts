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

/** Where the dots of a reply are; used by one call of readPlace after the other. */
const dots = new Uint16Array(16);

/** From the bytes: each delivery is asked for its numbers, and a string and its parts would cost several times as much. */
function readPlace(reply: Uint8Array): Place {
  let tokens = 0;
  for (let at = 0; at < reply.length && tokens < dots.length; at++) if (reply[at] === dot) dots[tokens++] = at;
  const first = deliveredToken + (tokens >= oldTokens ? newShift : 0);
  dots[tokens] = reply.length;
  return {
    delivered: readNumber(reply, first, 0),
    seq: readNumber(reply, first + 1, 0),
    consumerSeq: readNumber(reply, first + 2, 0),
    timestampMs: readNumber(reply, first + 3, nsInMs),
    pending: readNumber(reply, first + 4, 0),
  };
}

function readNumber(reply: Uint8Array, token: number, unread: number): number {
  const end = (dots[token] ?? 0) - unread;
  let value = 0;
  for (let at = (dots[token - 1] ?? 0) + 1; at < end; at++) value = value * 10 + ((reply[at] ?? zero) - zero);
  return value;
}
