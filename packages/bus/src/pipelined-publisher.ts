import { nuid, type Msg, type Subscription } from "nats";
import { headerNames } from "@millrace/protocol";
import { BusError, natsCodes, noResponders, notAllowed, notConnected } from "./bus-error.ts";
import { lastToken, messageStatus } from "./bus-message.ts";
import { EncodedHeaders, encodeHeaders, encodeWithMessageId, headerLines, type HeaderList } from "./encode-headers.ts";
import type { Link } from "./link.ts";
import { backoffMs } from "./pause.ts";
import { PublishAck, publishError } from "./publish-ack.ts";
import { Sweeper } from "./sweeper.ts";
import type { WireWriter } from "./wire-writer.ts";

export interface OutgoingMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  /**
   * A list gets a `Nats-Msg-Id` when it has none, so that sending again stores once. Encoded headers go out as they are and
   * should hold one.
   */
  readonly headers?: HeaderList | EncodedHeaders;
}

export interface PublisherOptions {
  /** Messages without an answer at one time. */
  readonly windowMessages?: number;
  /** Bytes without an answer at one time. */
  readonly windowBytes?: number;
  /** No answer for this long: the message is sent again. */
  readonly ackTimeoutMs?: number;
  /** No answer for this long, over all tries: the caller gets an error. */
  readonly deliveryTimeoutMs?: number;
}

/** Exactly one of the two is defined. */
export type PublishDone = (error: BusError | undefined, ack: PublishAck | undefined) => void;

export interface PublishSummary {
  readonly stored: number;
  readonly failed: number;
}

interface InFlight {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers: EncodedHeaders;
  readonly bytes: number;
  readonly deadlineMs: number;
  readonly done: PublishDone;
  nextTryMs: number;
  failures: number;
  /** The broker's last word, when it was not the last one for us. */
  refusal: BusError | undefined;
}

/** Callers of `publish` that may wait for room; one more is refused. */
const mostWaiting = 100_000;
const sweepMs = 50;
/** A leader takes messages only a moment after the cluster has told of it. */
const afterElectionMs = 200;
const retryBaseMs = 50;
/** Longer the more there are in flight, so that no more than some 2,000 messages a second are sent again; a few wait for no leader long. */
const retryMostMs = 2000;
const retryLeastMostMs = 400;
const retryMostMsEach = 0.5;
/** When the broker says that too much comes in: longer pauses, and half as much in flight, once in each of these. */
const overloadBaseMs = 250;
const overloadMostMs = 5000;
const leastWindow = 16;

/**
 * Publishes into streams with many messages in flight: one wildcard inbox counts the answers, one timer looks after all.
 *
 * Every message that was taken ends in exactly one call of its `done`: stored, or an error. It is sent again after a
 * reconnect, when no answer came, or when the broker could not take it for now: under the same `Nats-Msg-Id`. Order is kept except for
 * what is sent again. `unavailable` after all tries means that it may be stored or not. While the broker says that too much comes in,
 * less is kept in flight.
 */
export class PipelinedPublisher implements AsyncDisposable {
  readonly #link: Link;
  readonly #writer: WireWriter;
  readonly #onClosed: () => void;
  /** On the wire. Answers come on it with the number of the message behind a dot. */
  readonly #inbox: string;
  readonly #subscription: Subscription;
  readonly #listening: Disposable;
  readonly #refusals: Disposable;
  readonly #elections: Disposable;
  readonly #sweeper: Sweeper;
  readonly #idPrefix = `${nuid.next()}-`;
  readonly #windowMessages: number;
  readonly #windowBytes: number;
  readonly #ackTimeoutMs: number;
  readonly #deliveryTimeoutMs: number;
  readonly #inFlight = new Map<number, InFlight>();
  /** Messages in flight, as many as the broker puts up with. */
  #mostInFlight: number;
  #lessAgainMs = 0;
  #bytes = 0;
  #next = 0;
  #closed = false;
  #waiting: (() => void)[] = [];
  #idle: (() => void)[] = [];

  constructor(link: Link, writer: WireWriter, options: PublisherOptions = {}, onClosed: () => void = () => undefined) {
    this.#link = link;
    this.#writer = writer;
    this.#onClosed = onClosed;
    this.#windowMessages = options.windowMessages ?? 4096;
    this.#mostInFlight = this.#windowMessages;
    this.#windowBytes = options.windowBytes ?? 32 << 20;
    this.#ackTimeoutMs = options.ackTimeoutMs ?? 5000;
    this.#deliveryTimeoutMs = options.deliveryTimeoutMs ?? 30_000;
    const inbox = link.newInbox();
    this.#inbox = link.namespace === undefined ? inbox : link.namespace.stored(inbox);
    this.#subscription = link.subscribe(`${inbox}.*`, (message) => this.#receive(message));
    this.#listening = link.onStatus((status) => {
      if (status.connected) this.#sendAllAgain();
      else if (link.closed) this.#failAll(notConnected());
    });
    this.#refusals = link.onRefused((subject) => this.#refuse(subject));
    this.#elections = link.onElection((subjects) => this.#elected(subjects));
    this.#sweeper = new Sweeper(sweepMs, (nowMs) => this.#sweep(nowMs));
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** What waits longest for its answer, and what the broker said of it last; undefined when nothing is in flight. */
  get oldest(): { readonly sinceMs: number; readonly refusal: BusError | undefined } | undefined {
    for (const { deadlineMs, refusal } of this.#inFlight.values()) {
      return { sinceMs: deadlineMs - this.#deliveryTimeoutMs, refusal };
    }
    return undefined;
  }

  /** Whether `post` takes a message. */
  get hasRoom(): boolean {
    return this.#inFlight.size < this.#mostInFlight && this.#bytes < this.#windowBytes;
  }

  /**
   * Sends one message, without a promise.
   * @returns false when the window is full: nothing was taken; wait for `room()`
   * @throws BusError out_of_range (too large for the broker), invalid_argument (headers), unavailable (closed)
   */
  post(message: OutgoingMessage, done: PublishDone): boolean {
    if (this.#closed || this.#link.closed) throw notConnected();
    if (!this.hasRoom) return false;
    const token = this.#next++;
    const headers = this.#encode(message, token);
    // The broker cuts the connection of who sends too much.
    const bytes = message.data.length + headers.byteLength;
    if (bytes > this.#link.maxPayloadBytes) {
      throw new BusError(
        "out_of_range",
        `${bytes} bytes with headers exceed the broker's ${this.#link.maxPayloadBytes}`,
      );
    }
    const nowMs = Date.now();
    this.#inFlight.set(token, {
      subject: message.subject,
      data: message.data,
      headers,
      bytes,
      deadlineMs: nowMs + this.#deliveryTimeoutMs,
      done,
      nextTryMs: nowMs + this.#ackTimeoutMs,
      failures: 0,
      refusal: undefined,
    });
    this.#bytes += bytes;
    this.#writer.publish(message.subject, message.data, `${this.#inbox}.${token}`, headers);
    this.#sweeper.wake();
    return true;
  }

  /** Resolves when there is room in the window. First come, first served. */
  async room(): Promise<void> {
    while (!this.hasRoom || this.#waiting.length > 0) {
      if (this.#closed) throw notConnected();
      if (this.#waiting.length >= mostWaiting) {
        throw new BusError("resource_exhausted", `${mostWaiting} publishers wait for room`, { retryAfterMs: 1000 });
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
      if (this.hasRoom) return;
    }
  }

  /**
   * Resolves when the stream holds the message; waits for room first.
   * @throws BusError resource_exhausted (stream full), unavailable (no stream there, no connection: stored or not),
   * out_of_range, aborted (an expectation in the headers failed), permission_denied (by the broker, for its user)
   */
  async publish(message: OutgoingMessage): Promise<PublishAck> {
    if (!this.hasRoom || this.#waiting.length > 0) await this.room();
    const { promise, resolve, reject } = Promise.withResolvers<PublishAck>();
    const done: PublishDone = (error, ack) => (ack === undefined ? reject(error) : resolve(ack));
    while (!this.post(message, done)) await this.room();
    return promise;
  }

  /** Publishes all that `messages` gives, never more than the window at once, and waits for every answer. */
  async publishMany(
    messages: Iterable<OutgoingMessage> | AsyncIterable<OutgoingMessage>,
    onDone?: (index: number, error: BusError | undefined, ack: PublishAck | undefined) => void,
  ): Promise<PublishSummary> {
    const all = Promise.withResolvers<void>();
    let index = 0;
    let stored = 0;
    let failed = 0;
    let ended = false;
    const settle = (at: number, error: BusError | undefined, ack: PublishAck | undefined): void => {
      if (error === undefined) stored++;
      else failed++;
      onDone?.(at, error, ack);
      if (ended && stored + failed === index) all.resolve();
    };
    const offer = (at: number, message: OutgoingMessage): boolean => {
      try {
        return this.post(message, (error, ack) => settle(at, error, ack));
      } catch (error) {
        if (!(error instanceof BusError)) throw error;
        settle(at, error, undefined);
        return true;
      }
    };
    if (Symbol.iterator in messages) {
      for (const message of messages) {
        const at = index++;
        while (!offer(at, message)) await this.room();
      }
    } else {
      for await (const message of messages) {
        const at = index++;
        while (!offer(at, message)) await this.room();
      }
    }
    ended = true;
    if (stored + failed < index) await all.promise;
    return { stored, failed };
  }

  /** Resolves when nothing is in flight. */
  async flush(): Promise<void> {
    if (this.#inFlight.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idle.push(resolve);
    await promise;
  }

  /** Takes nothing new, waits for what is in flight (bounded by the delivery timeout), then ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#wakeAll();
    if (!this.#link.closed) await this.flush();
    this.#failAll(notConnected());
    this.#listening[Symbol.dispose]();
    this.#refusals[Symbol.dispose]();
    this.#elections[Symbol.dispose]();
    this.#sweeper[Symbol.dispose]();
    this.#subscription.unsubscribe();
    this.#onClosed();
  }

  #encode({ headers }: OutgoingMessage, token: number): EncodedHeaders {
    if (headers instanceof EncodedHeaders) return headers;
    if (headers === undefined) return encodeWithMessageId(`${this.#idPrefix}${token}`, "");
    if (headers.some(([name]) => name === headerNames.messageId)) return encodeHeaders(headers);
    return encodeWithMessageId(`${this.#idPrefix}${token}`, headerLines(headers));
  }

  #receive(message: Msg): void {
    const token = lastToken(message);
    const entry = this.#inFlight.get(token);
    // A second answer, to a message that was sent twice.
    if (entry === undefined) return;
    const data = message.data;
    if (data.length === 0) {
      if (messageStatus(message)?.code === 503) this.#retryLater(entry, noResponders(entry.subject));
      return;
    }
    const error = publishError(entry.subject, data);
    if (error === undefined) {
      if (this.#mostInFlight < this.#windowMessages) this.#mostInFlight++;
      this.#settle(token, entry, undefined, new PublishAck(data, this.#link.namespace));
    } else if (error.natsCode === natsCodes.tooManyRequests) this.#slowDown(entry, error);
    else if (error.code === "unavailable") this.#retryLater(entry, error);
    else this.#settle(token, entry, error, undefined);
  }

  #refuse(subject: string): void {
    // A copy: the callee may change it.
    const refused = [...this.#inFlight].filter(([, entry]) => this.#link.onWire(entry.subject) === subject);
    for (const [token, entry] of refused) this.#settle(token, entry, notAllowed(subject), undefined);
  }

  #retryLater(entry: InFlight, refusal: BusError): void {
    entry.refusal = refusal;
    const mostMs = Math.min(retryMostMs, Math.max(retryLeastMostMs, this.#inFlight.size * retryMostMsEach));
    entry.nextTryMs = Date.now() + backoffMs(entry.failures++, retryBaseMs, mostMs);
  }

  #slowDown(entry: InFlight, refusal: BusError): void {
    const nowMs = Date.now();
    entry.refusal = refusal;
    entry.nextTryMs = nowMs + backoffMs(entry.failures++, overloadBaseMs, overloadMostMs);
    // Many are refused at the same time, of one cause.
    if (nowMs < this.#lessAgainMs) return;
    this.#lessAgainMs = nowMs + overloadBaseMs;
    const half = Math.floor(Math.min(this.#mostInFlight, this.#inFlight.size) / 2);
    this.#mostInFlight = Math.min(this.#windowMessages, Math.max(leastWindow, half));
  }

  #settle(token: number, entry: InFlight, error: BusError | undefined, ack: PublishAck | undefined): void {
    this.#inFlight.delete(token);
    this.#bytes -= entry.bytes;
    // As Link.guard, without a closure for each message.
    try {
      const result: unknown = entry.done(error, ack);
      if (result instanceof Promise)
        result.catch((err: unknown) => this.#link.callbackFailed("answer to a publish", err));
    } catch (err) {
      this.#link.callbackFailed("answer to a publish", err);
    }
    // A quarter of the window at a time, so that waking does not cost one microtask a message.
    if (this.#waiting.length > 0 && this.#inFlight.size <= this.#mostInFlight * 0.75 && this.hasRoom) this.#wakeSome();
    if (this.#inFlight.size === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #wakeSome(): void {
    const free = this.#mostInFlight - this.#inFlight.size;
    for (const resolve of this.#waiting.splice(0, Math.max(0, free))) resolve();
  }

  #wakeAll(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** The leader before may have taken what has no answer yet, and its answers, with it. */
  #elected(subjects: string): void {
    const byMs = Date.now() + afterElectionMs;
    for (const entry of this.#inFlight.values()) {
      if (entry.subject.startsWith(subjects)) entry.nextTryMs = Math.min(entry.nextTryMs, byMs);
    }
  }

  #sendAgain(token: number, entry: InFlight, nowMs: number): void {
    entry.nextTryMs = nowMs + this.#ackTimeoutMs;
    this.#writer.publish(entry.subject, entry.data, `${this.#inbox}.${token}`, entry.headers);
  }

  #sendAllAgain(): void {
    const nowMs = Date.now();
    for (const [token, entry] of this.#inFlight) this.#sendAgain(token, entry, nowMs);
  }

  #sweep(nowMs: number): boolean {
    const connected = this.#link.connected;
    for (const [token, entry] of this.#inFlight) {
      if (entry.deadlineMs <= nowMs) {
        this.#settle(token, entry, notInTime(entry), undefined);
      } else if (connected && entry.nextTryMs <= nowMs) {
        this.#sendAgain(token, entry, nowMs);
      }
    }
    // Those who were woken and then did not publish wake nobody else.
    if (this.#waiting.length > 0 && this.hasRoom) this.#wakeSome();
    return this.#inFlight.size > 0 || this.#waiting.length > 0;
  }

  #failAll(error: BusError): void {
    // A copy: the callee may change it.
    const all = [...this.#inFlight];
    for (const [token, entry] of all) this.#settle(token, entry, error, undefined);
    this.#wakeAll();
  }
}

function notInTime({ subject, refusal }: InFlight): BusError {
  if (refusal?.natsCode === natsCodes.tooManyRequests) return refusal;
  const reason = refusal?.message ?? "no answer";
  const options = { retryAfterMs: 1000, ...(refusal === undefined ? {} : { cause: refusal }) };
  return new BusError("unavailable", `publish to ${subject}: ${reason}; it may be stored or not`, options);
}
