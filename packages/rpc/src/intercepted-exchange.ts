import type { BodyGate } from "./collect-body.ts";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Exchange, ReplyHeaders } from "./exchange.ts";
import { isRefusal, type Interception, type Refusal } from "./interception.ts";

/** An exchange whose request headers were rewritten, and whose answer waits for a last word on its headers. */
export class InterceptedExchange implements Exchange {
  readonly httpVersion: Exchange["httpVersion"];
  readonly verb: string;
  readonly path: string;
  readonly query: string;
  readonly headers: Exchange["headers"];
  readonly #inner: Exchange;
  readonly #interception: Interception;
  readonly #refuse: (refusal: Refusal) => void;
  #opened: Promise<boolean> = Promise.resolve(false);

  constructor(
    inner: Exchange,
    headers: Exchange["headers"],
    interception: Interception,
    refuse: (refusal: Refusal) => void,
  ) {
    this.httpVersion = inner.httpVersion;
    this.verb = inner.verb;
    this.path = inner.path;
    this.query = inner.query;
    this.headers = headers;
    this.#inner = inner;
    this.#interception = interception;
    this.#refuse = refuse;
  }

  get address(): string {
    return this.#inner.address;
  }

  readBody(maxBytes: number, done: (body: Uint8Array, error: ConnectError | undefined) => void, gate?: BodyGate): void {
    this.#inner.readBody(maxBytes, done, gate);
  }

  bodyChunks(): AsyncIterable<Uint8Array> {
    return this.#inner.bodyChunks();
  }

  reply(status: number, headers: ReplyHeaders, body: string | Uint8Array, trailers?: ReplyHeaders): void {
    void this.#answer(status, headers, (rewritten) => this.#inner.reply(status, rewritten, body, trailers));
  }

  open(status: number, headers: ReplyHeaders, trailers?: () => ReplyHeaders): void {
    this.#opened = this.#answer(status, headers, (rewritten) => this.#inner.open(status, rewritten, trailers));
  }

  /** @returns false when it was refused instead */
  async #answer(status: number, headers: ReplyHeaders, send: (rewritten: ReplyHeaders) => void): Promise<boolean> {
    const outcome = await this.#interception.after(status, headers);
    if (isRefusal(outcome)) {
      this.#refuse(outcome);
      return false;
    }
    try {
      send(outcome);
      return true;
    } catch (reason) {
      // Node takes some headers for its own, and others not at all; nobody else hears of it.
      this.#refuse({ error: new ConnectError("internal error", Code.Internal, undefined, undefined, reason) });
      return false;
    }
  }

  async write(chunk: string | Uint8Array): Promise<boolean> {
    return (await this.#opened) && this.#inner.write(chunk);
  }

  get backlogBytes(): number {
    return this.#inner.backlogBytes;
  }

  end(): void {
    void this.#opened.then((opened) => {
      if (opened) this.#inner.end();
    });
  }

  onGone(listener: () => void): void {
    this.#inner.onGone(listener);
  }
}
