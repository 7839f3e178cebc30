import { Buffer } from "node:buffer";
import type { Msg } from "nats";
import type { Namespace } from "./namespace.ts";

const decoder = new TextDecoder();
const empty = new Uint8Array(0);
const zero = 48;
/** Handlers may ask for whatever they like. */
const mostBegins = 256;
const dot = 46;

/** The client's message as it keeps it: the header block is read from here without its Map of arrays. */
interface ClientMessage {
  readonly _msg: { readonly hdr: number; readonly subject: Uint8Array; readonly reply?: Uint8Array };
  readonly _rdata: Uint8Array;
}

/** A message from the broker. Nothing is decoded before it is asked for. */
export class BusMessage {
  protected readonly source: Msg;
  protected readonly namespace: Namespace | undefined;
  #headerText: string | undefined;

  constructor(source: Msg, namespace?: Namespace) {
    this.source = source;
    this.namespace = namespace;
  }

  get subject(): string {
    const subject = textOf(this.subjectBytes);
    return this.namespace === undefined ? subject : this.namespace.ownSubject(subject);
  }

  /** The subject as it is on the wire, in the receive buffer. */
  get subjectBytes(): Uint8Array {
    return (this.source as unknown as ClientMessage)._msg.subject;
  }

  /** A view into the receive buffer, on Node of class Buffer: `new Uint8Array(data)` copies what is kept for long. */
  get data(): Uint8Array {
    return this.source.data;
  }

  /** Empty when no answer is expected. */
  get reply(): string {
    const reply = textOf(replyBytes(this.source));
    return this.namespace === undefined ? reply : this.namespace.ownSubject(reply);
  }

  /** The header block as it came, empty when there is none. */
  get headerBytes(): Uint8Array {
    return headerBlock(this.source);
  }

  /** The header block as text: each header as `\r\n<name>: <value>`. Empty when there is none. */
  get headerText(): string {
    return (this.#headerText ??= headerTextOf(this.source));
  }

  /** The first value of a header, by its exact name. */
  header(name: string): string | undefined {
    const text = this.headerText;
    if (text === "") return undefined;
    const start = text.indexOf(beginOf(name));
    if (start < 0) return undefined;
    const from = start + name.length + 3;
    return this.#own(name, text.slice(from, text.indexOf("\r\n", from)).trim());
  }

  /** All headers in their order. */
  headers(): [name: string, value: string][] {
    const lines = this.headerText.split("\r\n").slice(1);
    return lines.flatMap((line): [string, string][] => {
      const colon = line.indexOf(":");
      if (colon <= 0) return [];
      const name = line.slice(0, colon);
      return [[name, this.#own(name, line.slice(colon + 1).trim())]];
    });
  }

  /** Where JetStream tells of a place, by the names on the wire. */
  #own(header: string, value: string): string {
    if (this.namespace === undefined) return value;
    if (header === "Nats-Stream") return this.namespace.ownStream(value);
    return header === "Nats-Subject" ? this.namespace.ownSubject(value) : value;
  }
}

export function hasReply(message: Msg): boolean {
  const { _msg } = message as unknown as ClientMessage;
  return _msg.reply !== undefined && _msg.reply.length > 0;
}

/** The reply subject as it is on the wire; empty when there is none. */
export function replyBytes(message: Msg): Uint8Array {
  return (message as unknown as ClientMessage)._msg.reply ?? empty;
}

/** The number that is the last token of the subject: which of our requests a message answers. NaN when it is none. */
export function lastToken(message: Msg): number {
  const { subject } = (message as unknown as ClientMessage)._msg;
  let value = 0;
  let power = 1;
  for (let at = subject.length - 1; at >= 0; at--) {
    const digit = (subject[at] ?? 0) - zero;
    if (digit < 0 || digit > 9) return subject[at] === dot && power > 1 ? value : Number.NaN;
    value += digit * power;
    power *= 10;
  }
  return Number.NaN;
}

const begins = new Map<string, string>();

/** Of a header's line. Names are few, and asked for in each message. */
function beginOf(name: string): string {
  let begin = begins.get(name);
  if (begin === undefined) {
    begin = `\r\n${name}:`;
    if (begins.size < mostBegins) begins.set(name, begin);
  }
  return begin;
}

/** On Node bytes come as Buffers, which read short texts in a fraction of a decoder's time, and need no view for a part. */
function textOf(bytes: Uint8Array, end = bytes.length): string {
  if (end === 0) return "";
  return bytes instanceof Buffer ? bytes.toString("utf8", 0, end) : decoder.decode(bytes.subarray(0, end));
}

function headerTextOf(message: Msg): string {
  const { _msg, _rdata } = message as unknown as ClientMessage;
  return _msg.hdr > 0 ? textOf(_rdata, _msg.hdr) : "";
}

export function headerBlock(message: Msg): Uint8Array {
  const { _msg, _rdata } = message as unknown as ClientMessage;
  return _msg.hdr > 0 ? _rdata.subarray(0, _msg.hdr) : empty;
}

export interface MessageStatus {
  readonly code: number;
  readonly text: string;
  /** With 408: what the pull did not get of its batch. */
  readonly pendingMessages: number;
}

/** The status line of a message without data: `{code: 503}`, or undefined for an ordinary message. */
export function messageStatus(message: Msg): MessageStatus | undefined {
  return message.data.length > 0 ? undefined : parseStatus(headerBlock(message));
}

/** As `messageStatus`, for a message that was wrapped already. */
export function messageStatusOf(message: BusMessage): MessageStatus | undefined {
  return message.data.length > 0 ? undefined : parseStatus(message.headerBytes);
}

function parseStatus(bytes: Uint8Array): MessageStatus | undefined {
  // "NATS/1.0 404 No Messages\r\n"
  if (bytes.length < 12 || bytes[8] !== 32) return undefined;
  const block = decoder.decode(bytes);
  const pending = /Nats-Pending-Messages: *(\d+)/.exec(block);
  return {
    code: Number(block.slice(9, 12)),
    text: block.slice(13, block.indexOf("\r\n")),
    pendingMessages: pending === null ? 0 : Number(pending[1]),
  };
}
