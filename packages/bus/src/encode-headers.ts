import { Buffer } from "node:buffer";
import type { MsgHdrs } from "nats";
import { BusError } from "./bus-error.ts";

export type HeaderList = readonly (readonly [name: string, value: string])[];

const encoder = new TextEncoder();
const lineBreak = /[\r\n]/;
const nameForm = /^[!-9;-~]+$/;

/** Headers in their wire form (NATS/1.0, as HTTP/1.1's). Encode once what many messages share. */
export class EncodedHeaders {
  /** The block, where it was given as text; else undefined. */
  readonly text: string | undefined;
  readonly byteLength: number;
  #bytes: Uint8Array | undefined;

  /** @param block as text only when it is nothing but ASCII, which the caller knows: text is cheaper to write than bytes */
  constructor(block: Uint8Array | string) {
    this.byteLength = block.length;
    this.text = typeof block === "string" ? block : undefined;
    this.#bytes = typeof block === "string" ? undefined : block;
  }

  get bytes(): Uint8Array {
    return (this.#bytes ??= Buffer.from(this.text ?? "", "latin1"));
  }

  /** What the NATS client calls, and all it calls, when it publishes. */
  encode(): Uint8Array {
    return this.bytes;
  }
}

/** @throws BusError invalid_argument on a name or value that cannot stand in a header */
export function encodeHeaders(headers: HeaderList): EncodedHeaders {
  return new EncodedHeaders(encoder.encode(`NATS/1.0\r\n${headerLines(headers)}\r\n`));
}

/** Header lines without the version line and the closing empty line. */
export function headerLines(headers: HeaderList): string {
  let text = "";
  for (const [name, value] of headers) {
    if (!nameForm.test(name) || lineBreak.test(value)) {
      throw new BusError("invalid_argument", `not a header: ${JSON.stringify(name)}`);
    }
    text += `${name}: ${value}\r\n`;
  }
  return text;
}

/** `lines` with a message id in front. */
export function encodeWithMessageId(messageId: string, lines: string): EncodedHeaders {
  return new EncodedHeaders(encoder.encode(`NATS/1.0\r\nNats-Msg-Id: ${messageId}\r\n${lines}\r\n`));
}

/** The client's type for what it only ever calls `encode()` on. Its own class costs a Map and several passes a message. */
export function asClientHeaders(headers: EncodedHeaders): MsgHdrs {
  return headers as unknown as MsgHdrs;
}
