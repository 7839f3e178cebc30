import type { Msg, Subscription } from "nats";
import { BusError, noResponders, notAllowed, notConnected } from "./bus-error.ts";
import { BusMessage, messageStatus } from "./bus-message.ts";
import type { EncodedHeaders } from "./encode-headers.ts";
import type { Link } from "./link.ts";
import { Sweeper } from "./sweeper.ts";

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly headers?: EncodedHeaders;
}

interface PendingRequest {
  readonly subject: string;
  readonly deadlineMs: number;
  readonly resolve: (message: BusMessage) => void;
  readonly reject: (error: BusError) => void;
}

/** More than this many at once, and the caller is told to come back later. */
const mostPending = 20_000;
/** Timeouts are this coarse. */
const sweepMs = 25;

/** Request-reply over one wildcard inbox: no subscription, timer or client promise for each request. */
export class RequestMux implements Disposable {
  readonly #link: Link;
  readonly #inbox: string;
  readonly #subscription: Subscription;
  readonly #listening: Disposable;
  readonly #refusals: Disposable;
  readonly #sweeper: Sweeper;
  readonly #pending = new Map<string, PendingRequest>();
  #next = 0;
  #closed = false;

  constructor(link: Link, inbox: string) {
    this.#link = link;
    this.#inbox = inbox;
    this.#subscription = link.subscribe(`${this.#inbox}.*`, (message) => this.#receive(message));
    // An answer may be lost with the connection: whether the request was served is unknown.
    this.#listening = link.onStatus((status) => {
      if (!status.connected) this.#failAll(notConnected());
    });
    this.#refusals = link.onRefused((subject) => this.#refuse(subject));
    this.#sweeper = new Sweeper(sweepMs, (nowMs) => this.#sweep(nowMs));
  }

  /** Requests without an answer yet. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * @throws BusError unavailable (nobody listens, or no connection), deadline_exceeded, resource_exhausted, out_of_range,
   * permission_denied (by the broker, for its user)
   */
  request(subject: string, data: Uint8Array, options: RequestOptions): Promise<BusMessage> {
    // Its inbox is gone: nobody would hear the answer.
    if (this.#closed) return Promise.reject(notConnected());
    if (this.#pending.size >= mostPending) {
      return Promise.reject(
        new BusError("resource_exhausted", `${mostPending} requests are waiting`, { retryAfterMs: 500 }),
      );
    }
    if (data.length > this.#link.maxPayloadBytes) {
      return Promise.reject(
        new BusError("out_of_range", `${data.length} bytes exceed the broker's ${this.#link.maxPayloadBytes}`),
      );
    }
    const token = (this.#next++).toString(36);
    const { promise, resolve, reject } = Promise.withResolvers<BusMessage>();
    if (!this.#link.publish(subject, data, `${this.#inbox}.${token}`, options.headers)) {
      return Promise.reject(notConnected());
    }
    this.#pending.set(token, { subject, deadlineMs: Date.now() + options.timeoutMs, resolve, reject });
    this.#sweeper.wake();
    return promise;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#listening[Symbol.dispose]();
    this.#refusals[Symbol.dispose]();
    this.#sweeper[Symbol.dispose]();
    this.#failAll(notConnected());
    this.#subscription.unsubscribe();
  }

  #receive(message: Msg): void {
    const subject = message.subject;
    const token = subject.slice(subject.lastIndexOf(".") + 1);
    const request = this.#pending.get(token);
    // Late: its caller went away.
    if (request === undefined) return;
    this.#pending.delete(token);
    if (messageStatus(message)?.code === 503) request.reject(noResponders(request.subject));
    else request.resolve(new BusMessage(message, this.#link.namespace));
  }

  #refuse(subject: string): void {
    for (const [token, request] of this.#pending) {
      if (this.#link.onWire(request.subject) !== subject) continue;
      this.#pending.delete(token);
      request.reject(notAllowed(subject));
    }
  }

  #sweep(nowMs: number): boolean {
    for (const [token, request] of this.#pending) {
      if (request.deadlineMs > nowMs) continue;
      this.#pending.delete(token);
      request.reject(new BusError("deadline_exceeded", `no answer on ${request.subject} in time`));
    }
    return this.#pending.size > 0;
  }

  #failAll(error: BusError): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const request of pending) request.reject(error);
  }
}
