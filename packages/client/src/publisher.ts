import type { Bus, PipelinedPublisher } from "@millrace/bus";
import { MillraceError } from "@millrace/protocol";
import type { Accepted } from "./client.ts";
import { createJobEncoder, type EncodedJob } from "./encode-job.ts";
import { createJobIdSource } from "./job-id-source.ts";
import type { JobSpec } from "./job-spec.ts";
import { submitByRequest } from "./submit-by-request.ts";

export interface PublisherLimits {
  /** Jobs sent and not yet answered; more wait. 4096 when left out. */
  readonly maxInFlight?: number;
  /** Their bytes; 32 MiB when left out. */
  readonly maxInFlightBytes?: number;
  /** How long a job is sent again (connection lost, no answer) before its promise rejects; 30 s when left out. */
  readonly deliveryTimeoutMs?: number;
}

/** A job of a bulk that was not accepted. */
export interface Refusal {
  /** Place in the bulk, from 0. */
  readonly index: number;
  readonly id: string;
  readonly error: MillraceError;
}

export interface PublishTotals {
  readonly accepted: number;
  /** Accepted, and known already. */
  readonly duplicates: number;
  readonly refused: number;
  /** The first 100. */
  readonly refusals: readonly Refusal[];
}

export interface PublishManyOptions {
  /** Called about ten times a second, and at the end. */
  readonly onProgress?: (totals: { readonly accepted: number; readonly refused: number }) => void;
  /** Takes no more from the iterable; what was sent is still waited for. */
  readonly signal?: AbortSignal;
}

const keptRefusals = 100;
const progressMs = 100;
/** How many jobs are sent between two looks at the clock and at what came in. */
const burst = 256;

/**
 * Publishes jobs over NATS, many in flight. A job is accepted when its stream has stored it; until then it is kept here
 * and sent again after a reconnect, which stores it once within the broker's window of 20 s. Past that, what was stored already and is
 * sent again under the same id is seen to be the same job by its row; it may have begun by then.
 */
export class Publisher implements AsyncDisposable {
  readonly #pipeline: PipelinedPublisher;
  readonly #bus: Bus;
  readonly #ownsBus: boolean;
  readonly #encode = createJobEncoder(createJobIdSource());

  constructor(bus: Bus, limits: PublisherLimits, ownsBus: boolean) {
    this.#pipeline = bus.publisher({
      ...(limits.maxInFlight === undefined ? {} : { windowMessages: limits.maxInFlight }),
      ...(limits.maxInFlightBytes === undefined ? {} : { windowBytes: limits.maxInFlightBytes }),
      ...(limits.deliveryTimeoutMs === undefined ? {} : { deliveryTimeoutMs: limits.deliveryTimeoutMs }),
    });
    this.#bus = bus;
    this.#ownsBus = ownsBus;
  }

  /** Jobs without an answer yet. */
  get inFlight(): number {
    return this.#pipeline.inFlight;
  }

  /**
   * Resolves when the job is stored. Waits first while the window is full. A job with a unique key goes by request to
   * JobService, which knows who has the key.
   * @throws MillraceError invalid_argument (by the contract's rules), out_of_range (payload too large), resource_exhausted
   * (stream full), already_exists (unique key), unavailable (no answer within the delivery timeout: stored or not)
   */
  async publish(job: JobSpec): Promise<Accepted> {
    const { id, message } = this.#encode(job);
    if (job.uniqueKey !== undefined && job.uniqueKey !== "") return submitByRequest(this.#bus, { ...job, id });
    const ack = await this.#pipeline.publish(message);
    return { id, duplicate: ack.duplicate };
  }

  /**
   * Publishes all jobs of an iterable, in order, as fast as the window lets them, without a promise for each. A job that is
   * refused is counted and does not stop the others; what the iterable throws does.
   */
  async publishMany(
    jobs: Iterable<JobSpec> | AsyncIterable<JobSpec>,
    options: PublishManyOptions = {},
  ): Promise<PublishTotals> {
    const { onProgress, signal } = options;
    const done = Promise.withResolvers<void>();
    const refusals: Refusal[] = [];
    let sent = 0;
    let accepted = 0;
    let duplicates = 0;
    let refused = 0;
    let ended = false;
    let reportedAt = Date.now();

    const settled = () => {
      if (ended && accepted + refused === sent) done.resolve();
    };
    const refuse = (index: number, id: string, error: MillraceError) => {
      refused++;
      if (refusals.length < keptRefusals) refusals.push({ index, id, error });
      settled();
    };
    /** @returns false when there is no room */
    const post = (index: number, job: EncodedJob, ownId: boolean): boolean => {
      try {
        return this.#pipeline.post(job.message, (error, ack) => {
          if (error !== undefined) return refuse(index, job.id, error);
          accepted++;
          // An id made here is only known already when the job was sent again.
          if (!ownId && ack?.duplicate === true) duplicates++;
          settled();
        });
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        refuse(index, job.id, error);
        return true;
      }
    };
    const encode = (index: number, job: JobSpec): EncodedJob | undefined => {
      try {
        return this.#encode(job);
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        refuse(index, job.id ?? "", error);
        return undefined;
      }
    };
    const request = async (index: number, job: JobSpec & { id: string }): Promise<void> => {
      try {
        const { duplicate } = await submitByRequest(this.#bus, job);
        accepted++;
        if (duplicate) duplicates++;
        settled();
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        refuse(index, job.id, error);
      }
    };
    const report = () => {
      if (onProgress === undefined || Date.now() - reportedAt < progressMs) return;
      reportedAt = Date.now();
      onProgress({ accepted, refused });
    };
    /** Sends one job; gives back a promise only when there is something to wait for. */
    const send = (job: JobSpec): Promise<void> | undefined => {
      const index = sent++;
      const encoded = encode(index, job);
      if (encoded === undefined) return undefined;
      if (job.uniqueKey !== undefined && job.uniqueKey !== "") return request(index, { ...job, id: encoded.id });
      const ownId = job.id === undefined;
      if (!post(index, encoded, ownId)) return this.#postLater(() => post(index, encoded, ownId));
      return sent % burst === 0 ? yieldToIo() : undefined;
    };

    try {
      if (Symbol.iterator in jobs) {
        for (const job of jobs) {
          if (signal?.aborted === true) break;
          const wait = send(job);
          if (wait === undefined) continue;
          await wait;
          report();
        }
      } else {
        for await (const job of jobs) {
          if (signal?.aborted === true) break;
          const wait = send(job);
          if (wait !== undefined) await wait;
          report();
        }
      }
    } finally {
      ended = true;
      settled();
      await this.#untilSettled(done.promise, report);
    }
    onProgress?.({ accepted, refused });
    return { accepted, duplicates, refused, refusals };
  }

  /** Resolves when every job that was sent has its answer. */
  async flush(): Promise<void> {
    await this.#pipeline.flush();
  }

  /** Takes nothing new, waits for the answers (bounded by the delivery timeout), then disconnects. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pipeline[Symbol.asyncDispose]();
    if (this.#ownsBus) await this.#bus[Symbol.asyncDispose]();
  }

  async #postLater(post: () => boolean): Promise<void> {
    do await this.#pipeline.room();
    while (!post());
  }

  async #untilSettled(done: Promise<void>, report: () => void): Promise<void> {
    const timer = setInterval(report, progressMs);
    try {
      await done;
    } finally {
      clearInterval(timer);
    }
  }
}

/** Lets the socket write and the answers come in. */
function yieldToIo(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  setImmediate(resolve);
  return promise;
}
