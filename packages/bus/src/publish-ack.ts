import { JsonObject } from "./json.ts";
import { apiError, type BusError } from "./bus-error.ts";
import type { Namespace } from "./namespace.ts";

/** That a stream holds a message. Decoded when it is asked for: most publishers only count. */
export class PublishAck {
  readonly #bytes: Uint8Array;
  readonly #namespace: Namespace | undefined;
  #json: JsonObject | undefined;

  constructor(bytes: Uint8Array, namespace?: Namespace) {
    this.#bytes = bytes;
    this.#namespace = namespace;
  }

  get stream(): string {
    const stream = this.#decoded.string("stream");
    return this.#namespace === undefined ? stream : this.#namespace.ownStream(stream);
  }

  get seq(): number {
    return this.#decoded.number("seq");
  }

  /** The stream had a message with this id already; this one was not stored again. */
  get duplicate(): boolean {
    return this.#decoded.boolean("duplicate");
  }

  get #decoded(): JsonObject {
    return (this.#json ??= JsonObject.parse(this.#bytes));
  }
}

/** The error in an answer to a publish, or undefined when it was stored. */
export function publishError(subject: string, bytes: Uint8Array): BusError | undefined {
  // {"error":…} or {"stream":…}: the third byte tells.
  if (bytes[2] !== 0x65) return undefined;
  const error = JsonObject.parse(bytes).object("error");
  return apiError(`publish to ${subject}`, {
    code: error.number("code"),
    natsCode: error.number("err_code"),
    description: error.string("description"),
  });
}
