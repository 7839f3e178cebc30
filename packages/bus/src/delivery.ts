import { BusMessage } from "./bus-message.ts";

/** A message of a stream, delivered by a consumer. Its place is read from the reply subject when it is asked for. */
export class Delivery extends BusMessage {
  #parts: readonly string[] | undefined;

  /** `$JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<consumer seq>.<ns>.<pending>`; newer: `.<domain>.<account>` after ACK. */
  #part(index: number): string {
    if (this.#parts === undefined) {
      const parts = this.reply.split(".");
      this.#parts = parts.length > 9 ? parts.slice(4) : parts.slice(2);
    }
    return this.#parts[index] ?? "";
  }

  get stream(): string {
    const stream = this.#part(0);
    return this.namespace === undefined ? stream : this.namespace.ownStream(stream);
  }

  get consumer(): string {
    return this.#part(1);
  }

  /** 1 at the first delivery. */
  get delivered(): number {
    return Number(this.#part(2));
  }

  /** Its sequence in the stream. */
  get seq(): number {
    return Number(this.#part(3));
  }

  get consumerSeq(): number {
    return Number(this.#part(4));
  }

  /** When the stream stored it, Unix ms. */
  get timestampMs(): number {
    return Number(this.#part(5).slice(0, -6));
  }

  /** How many more the consumer had at this moment. */
  get pending(): number {
    return Number(this.#part(6));
  }
}
