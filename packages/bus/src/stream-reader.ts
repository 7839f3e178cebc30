import type { ErrorCode } from "@millrace/protocol";
import { nuid } from "nats";
import { BusError } from "./bus-error.ts";
import type { Delivery } from "./delivery.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { backoffMs, pause, within } from "./pause.ts";
import type { PullHub } from "./pull-hub.ts";
import { decodeStreamState } from "./stream-state.ts";

export type ReadStart = { readonly seq: number } | "first" | "new" | "lastPerSubject";

export interface ReadOptions {
  readonly stream: string;
  readonly filter?: string;
  readonly start: ReadStart;
  /** At most this many in one call of `onBatch`, and about twice as many buffered. */
  readonly batch?: number;
  /** Bound on one answer of the broker. */
  readonly maxBytes?: number;
  /**
   * Messages in order, each once for as long as this reader lives. The next batch is fetched meanwhile and given after this
   * call's promise resolved. When it throws, the reader ends and `done` rejects.
   */
  readonly onBatch: (messages: readonly Delivery[]) => void | Promise<void>;
  /** Everything that the stream held when reading began was given. */
  readonly onCaughtUp?: () => void;
  /** Messages from..to had left the stream before they were read. */
  readonly onGap?: (fromSeq: number, toSeq: number) => void;
  /** The stream ends before the place we were at: it was made anew. Reading begins at its first message. */
  readonly onReset?: () => void;
}

const pullExpiresMs = 20_000;
const inactiveMs = 60_000;
/** A reader that stops waits no longer to hear that its consumer is gone: the broker forgets by itself what nobody pulls from. */
const deleteWaitMs = 1000;
const passing: ReadonlySet<ErrorCode> = new Set([
  "unavailable",
  "deadline_exceeded",
  "not_found",
  "resource_exhausted",
]);
const defaultMaxBytes = 16 << 20;

/**
 * Reads a stream in order with back-pressure, by an ephemeral consumer that is made anew, from the place after the last message
 * seen, whenever it is lost or a delivery is missing.
 */
export class StreamReader implements AsyncDisposable {
  readonly #api: JetStreamApi;
  readonly #pulls: PullHub;
  readonly #options: ReadOptions;
  readonly #batch: number;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  #buffer: Delivery[] = [];
  #lastSeq: number;
  #wakeDelivery = Promise.withResolvers<void>();
  #refill: (() => void) | undefined;
  /** By sequence; until then by the policy that `start` asks for. */
  #positioned: boolean;
  #inHand = 0;
  /** Messages to give before `onCaughtUp`; undefined before the first consumer tells, and after it was called. */
  #toCatchUp: number | undefined;
  #caughtUp = false;

  constructor(api: JetStreamApi, pulls: PullHub, options: ReadOptions) {
    this.#api = api;
    this.#pulls = pulls;
    this.#options = options;
    this.#batch = options.batch ?? 1000;
    this.#lastSeq = typeof options.start === "object" ? Math.max(0, options.start.seq - 1) : 0;
    this.#positioned = options.start !== "new" && options.start !== "lastPerSubject";
    this.#done = Promise.all([this.#fetchLoop(), this.#deliverLoop()]).then(() => undefined);
    this.#done.catch((error: unknown) => {
      api.link.logger.error({ stream: options.stream, err: error }, "reading ended");
      this.#stop();
    });
  }

  /** Resolves when the reader was disposed; rejects when `onBatch` threw or the broker refuses such a reader. */
  get done(): Promise<void> {
    return this.#done;
  }

  /** Of the last message that came in; 0 at first. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    await this.#done.catch(() => undefined);
  }

  #stop(): void {
    this.#abort.abort();
    this.#wakeDelivery.resolve();
  }

  async #fetchLoop(): Promise<void> {
    const { signal } = this.#abort;
    for (let failures = 0; !signal.aborted;) {
      try {
        await abortable(this.#api.link.whenConnected(), signal);
        if (signal.aborted) return;
        const consumer = await this.#newConsumer();
        if (consumer === undefined) return;
        const progressed = await this.#session(consumer);
        failures = progressed ? 0 : failures + 1;
      } catch (error) {
        if (this.#api.link.closed) return this.#stop();
        // The broker may be starting, and the stream made a moment later than its first reader.
        if (!(error instanceof BusError) || !passing.has(error.code)) throw error;
        failures++;
        this.#api.link.logger.warn({ stream: this.#options.stream, err: error }, "reading interrupted");
      }
      if (failures > 0) await pause(backoffMs(failures, 50, 2000), { signal });
    }
  }

  /** @returns undefined when told to stop first: what is made all the same goes again, and nobody waits for it */
  async #newConsumer(): Promise<string | undefined> {
    const { signal } = this.#abort;
    const made = this.#createConsumer();
    const name = await abortable(made, signal);
    if (name === undefined) void made.then((late) => this.#delete(late)).catch(() => undefined);
    return name;
  }

  /** Never rejects. */
  async #delete(consumer: string): Promise<void> {
    await this.#api.request(`CONSUMER.DELETE.${this.#options.stream}.${consumer}`, undefined).catch(() => undefined);
  }

  async #createConsumer(): Promise<string> {
    const { stream, filter, start } = this.#options;
    const state = decodeStreamState(await this.#api.ask(`STREAM.INFO.${stream}`, undefined));
    // Who has stopped it is told of nothing more.
    if (this.#abort.signal.aborted) throw new BusError("canceled", "reading was stopped");
    if (this.#lastSeq > state.lastSeq) {
      this.#options.onReset?.();
      this.#lastSeq = 0;
      this.#positioned = start !== "lastPerSubject";
    } else if (start === "new" && !this.#positioned) {
      this.#lastSeq = state.lastSeq;
      this.#positioned = true;
    } else if (typeof start === "object" && this.#lastSeq + 1 < state.firstSeq) {
      this.#options.onGap?.(this.#lastSeq + 1, state.firstSeq - 1);
    }
    const from = this.#positioned
      ? { deliver_policy: "by_start_sequence", opt_start_seq: this.#lastSeq + 1 }
      : { deliver_policy: "last_per_subject" };
    const name = `r_${nuid.next()}`;
    const config = {
      name,
      ...from,
      ack_policy: "none",
      replay_policy: "instant",
      inactive_threshold: inactiveMs * 1_000_000,
      mem_storage: true,
      ...(filter === undefined ? {} : { filter_subject: filter }),
    };
    const subject = `CONSUMER.CREATE.${stream}.${name}${filter === undefined ? "" : `.${filter}`}`;
    const info = await this.#api.ask(subject, { stream_name: stream, config });
    if (!this.#caughtUp) {
      this.#toCatchUp = info.number("num_pending") + this.#buffer.length + this.#inHand;
      this.#wakeDelivery.resolve();
    }
    return name;
  }

  /** Pulls until the consumer is lost. @returns whether anything came */
  async #session(consumer: string): Promise<boolean> {
    const { stream } = this.#options;
    const { promise: over, resolve: end } = Promise.withResolvers<void>();
    let credit = 0;
    let expected = 1;
    let broken = false;
    const breakOff = (): void => {
      broken = true;
      end();
    };
    const refill = (): void => {
      if (broken || this.#abort.signal.aborted) return;
      const free = 2 * this.#batch - this.#buffer.length - credit;
      if (free < this.#batch) return;
      credit += this.#batch;
      let left = this.#batch;
      this.#pulls.pull(
        stream,
        consumer,
        {
          batch: this.#batch,
          expiresMs: pullExpiresMs,
          maxBytes: this.#options.maxBytes ?? defaultMaxBytes,
          alone: true,
        },
        {
          onMessage: (message) => {
            if (broken) return;
            // A delivery went missing: what follows must wait for it.
            if (message.consumerSeq !== expected) return breakOff();
            expected++;
            left--;
            credit--;
            this.#receive(message);
          },
          onEnd: (ended) => {
            credit -= left;
            if (ended.reason === "filled" || ended.reason === "empty") refill();
            else breakOff();
          },
        },
      );
    };
    this.#refill = refill;
    refill();
    await abortable(over, this.#abort.signal);
    broken = true;
    this.#refill = undefined;
    this.#pulls.release(stream, consumer);
    if (this.#api.link.connected) {
      const deleted = this.#delete(consumer);
      // Of a server that died there may be no answer: reading goes on without.
      if (this.#abort.signal.aborted) await within(deleteWaitMs, deleted);
    }
    return expected > 1;
  }

  #receive(message: Delivery): void {
    this.#lastSeq = message.seq;
    this.#positioned = true;
    this.#buffer.push(message);
    if (this.#buffer.length === 1) this.#wakeDelivery.resolve();
  }

  async #deliverLoop(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      if (this.#toCatchUp !== undefined && this.#toCatchUp <= 0) {
        this.#toCatchUp = undefined;
        this.#caughtUp = true;
        this.#options.onCaughtUp?.();
      }
      if (this.#buffer.length === 0) {
        await this.#wakeDelivery.promise;
        this.#wakeDelivery = Promise.withResolvers<void>();
        continue;
      }
      const messages = this.#buffer.splice(0, this.#batch);
      this.#inHand = messages.length;
      await this.#options.onBatch(messages);
      this.#inHand = 0;
      if (this.#toCatchUp !== undefined) this.#toCatchUp -= messages.length;
      this.#refill?.();
    }
  }
}

/** Resolves with undefined when the signal is aborted first. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return Promise.resolve(undefined);
  const { promise: result, resolve, reject } = Promise.withResolvers<T | undefined>();
  const onAbort = (): void => resolve(undefined);
  signal.addEventListener("abort", onAbort, { once: true });
  void promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  return result;
}
