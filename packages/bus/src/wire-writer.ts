import { Buffer } from "node:buffer";
import type { EncodedHeaders } from "./encode-headers.ts";
import type { Link } from "./link.ts";

/** The client's own way out: bytes of the protocol, written with whatever else is written in this turn. */
interface ClientProtocol {
  sendCommand(command: Uint8Array, ...more: Uint8Array[]): void;
}

/** Commands lie side by side in these. The client keeps views of them until they are written, so none is used twice. */
const slabBytes = 64 * 1024;
/** Larger bodies go to the client as they are. */
const mostCopiedBytes = 4096;
const lineBreak = Buffer.from("\r\n");
const ackBegin = Buffer.from("PUB ");
const ackEnd = Buffer.from(" 4\r\n+ACK\r\n");

/**
 * Publishes by writing commands of the protocol in one piece each. The client encodes a command, its headers and its body into buffers of
 * their own, which for small messages in great number costs as much as all the rest of publishing.
 */
export class WireWriter {
  readonly #link: Link;
  #slab = Buffer.alloc(0);
  #at = 0;

  constructor(link: Link) {
    this.#link = link;
  }

  /**
   * As Link.publish, with a reply subject as it is on the wire. The sizes are the caller's to check.
   * @returns false when there is no connection: the message went nowhere
   */
  publish(subject: string, data: Uint8Array, reply: string, headers: EncodedHeaders): boolean {
    if (!this.#isOpen) return false;
    const { text, byteLength } = headers;
    const named = this.#link.onWire(subject);
    const length = byteLength + data.length;
    const isSmall = length <= mostCopiedBytes;
    const line = `HPUB ${named} ${reply} ${byteLength} ${length}\r\n`;
    // Of a character of UTF-16 come up to three bytes.
    const begin = this.#room(3 * line.length + (isSmall ? length + lineBreak.length : 0));
    const slab = this.#slab;
    const command = text === undefined || !isSmall ? line : line + text;
    let at = begin + slab.write(command, begin);
    // As long as it is only with nothing but ASCII: then the sizes in the line are right.
    const hasHeaders = command !== line && at - begin === command.length;
    if (!hasHeaders && command !== line) at = begin + slab.write(line, begin);
    if (isSmall) {
      if (!hasHeaders) {
        slab.set(headers.bytes, at);
        at += byteLength;
      }
      slab.set(data, at);
      at += data.length;
      slab[at++] = 13;
      slab[at++] = 10;
      this.#protocol.sendCommand(slab.subarray(begin, at));
    } else this.#protocol.sendCommand(slab.subarray(begin, at), headers.bytes, data, lineBreak);
    this.#at = at;
    return true;
  }

  /**
   * Acks deliveries. @param replies their reply subjects, as they came
   * @returns false when there is no connection: they will be delivered again
   */
  ack(replies: readonly Uint8Array[]): boolean {
    if (!this.#isOpen) return false;
    let begin = this.#at;
    for (const reply of replies) {
      const needed = ackBegin.length + reply.length + ackEnd.length;
      if (this.#at + needed > this.#slab.length) {
        this.#send(begin);
        begin = this.#room(needed);
      }
      this.#append(ackBegin);
      this.#append(reply);
      this.#append(ackEnd);
    }
    this.#send(begin);
    return true;
  }

  get #isOpen(): boolean {
    return this.#link.connected && !this.#link.closed;
  }

  get #protocol(): ClientProtocol {
    return (this.#link.client as unknown as { readonly protocol: ClientProtocol }).protocol;
  }

  #send(begin: number): void {
    if (this.#at > begin) this.#protocol.sendCommand(this.#slab.subarray(begin, this.#at));
  }

  #append(bytes: Uint8Array): void {
    this.#slab.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** @returns where so many bytes are free */
  #room(bytes: number): number {
    if (this.#at + bytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytes));
      this.#at = 0;
    }
    return this.#at;
  }
}
