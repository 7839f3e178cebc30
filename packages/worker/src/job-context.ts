import { priorityName, type PriorityName } from "@millrace/protocol";
import type { Job } from "./job.ts";
import type { Outcome } from "./outcome.ts";

const decoder = new TextDecoder();

/** What a native handler is given. */
export class JobContext {
  readonly #job: Job;
  #abort: AbortController | undefined;

  constructor(job: Job) {
    this.#job = job;
  }

  get id(): string {
    return this.#job.id;
  }

  get queue(): string {
    return this.#job.queue;
  }

  get type(): string {
    return this.#job.type;
  }

  get priority(): PriorityName {
    return priorityName(this.#job.level);
  }

  /** From 1; a replay of a job that has ended begins the next. */
  get run(): number {
    return this.#job.options.run;
  }

  /** From 1, anew in each run. */
  get attempt(): number {
    return this.#job.options.attempt;
  }

  get maxAttempts(): number {
    return this.#job.options.maxAttempts;
  }

  /** Valid while the handler runs; copy what is kept longer. */
  get payload(): Uint8Array {
    return this.#job.delivery.data;
  }

  /** Media type as the publisher gave it; often empty. */
  get contentType(): string {
    return this.#job.options.contentType;
  }

  get tags(): readonly string[] {
    return this.#job.options.tags;
  }

  get correlationId(): string {
    return this.#job.options.correlationId;
  }

  /** W3C Trace Context of the submitter; empty when there is none. */
  get traceparent(): string {
    return this.#job.options.traceparent;
  }

  /** Fires when the job is cancelled, runs out of time, or its worker is stopped. */
  get signal(): AbortSignal {
    // Made when somebody asks: most handlers are done before one would be.
    if (this.#abort === undefined) {
      const abort = (this.#abort = new AbortController());
      this.#job.onAbort = (reason) => abort.abort(reason);
      if (this.#job.cancelRequested) abort.abort(new Error("cancelled"));
    }
    return this.#abort.signal;
  }

  text(): string {
    return decoder.decode(this.#job.delivery.data);
  }

  /** @throws SyntaxError when the payload is not JSON */
  json(): unknown {
    return JSON.parse(this.text());
  }

  /** A header of the message, by its exact name. */
  header(name: string): string | undefined {
    return this.#job.delivery.header(name);
  }
}

/** Runs one type of job in the worker's own thread. What it throws fails the attempt; see Outcome for the rest. */
export type JobHandler = (
  job: JobContext,
) => Promise<Uint8Array | string | object | Outcome | void> | Uint8Array | string | object | Outcome | void;
