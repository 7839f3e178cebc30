import type { CallContext, CallResult, ExecutorCall } from "@millrace/plugin-host";
import type { HostCaller } from "../host-services/host-caller.ts";
import type { Job } from "../job.ts";
import type { RunnableVersion } from "../plugins/runnable-version.ts";

/** What an invocation outside of any queue brings along. */
export interface Invocation {
  readonly input: Uint8Array;
  readonly traceparent: string;
  onResult(result: CallResult): void;
}

/** Progress is told so often at most. */
const progressEveryMs = 250;

/** One call of a plugin: for a job, or for somebody who waits for it. */
export class PluginCall {
  readonly version: RunnableVersion;
  readonly exportName: string;
  readonly timeoutMs: number;
  /** Exactly one of the two is there. */
  readonly job: Job | undefined;
  readonly invocation: Invocation | undefined;
  /** Monotonic ms of when it was given to its executor. */
  sentMs = 0;
  /** Monotonic ms of its first question: from here on it may wait, unseen by the progress cell. */
  askedMs = Infinity;
  /** Monotonic ms of when it was to be broken off. */
  cancelledMs = Infinity;
  /** Questions that are not answered yet. */
  asks = 0;
  /** Found running by the watchdog. */
  seen = false;
  readonly #source: Job | Invocation;
  #caller: HostCaller | undefined;
  #abort: AbortController | undefined;
  #toldMs = -Infinity;

  constructor(version: RunnableVersion, exportName: string, timeoutMs: number, source: Job | Invocation) {
    this.version = version;
    this.exportName = exportName;
    this.timeoutMs = timeoutMs;
    this.#source = source;
    this.job = "delivery" in source ? source : undefined;
    this.invocation = "delivery" in source ? undefined : source;
  }

  get input(): Uint8Array {
    return this.job?.delivery.data ?? this.invocation?.input ?? none;
  }

  /** The same call for another executor, as if it had not begun. */
  again(): PluginCall {
    return new PluginCall(this.version, this.exportName, this.timeoutMs, this.#source);
  }

  /** As an executor gets it. */
  request(callId: number, input: Uint8Array): ExecutorCall {
    const { version, exportName, timeoutMs, job } = this;
    const call = { callId, sha256: version.key, exportName, input, timeoutMs };
    // Every word is copied into the executor, at tens of thousands of calls a second.
    if (job === undefined || !version.learns) return call;
    return version.usesContext ? { ...call, record: true, context: contextOf(job) } : { ...call, record: true };
  }

  /** For host functions; made when one is called. */
  caller(onProgress: (job: Job, percent: number, message: string) => void): HostCaller {
    if (this.#caller !== undefined) return this.#caller;
    const { job, version, invocation } = this;
    this.#abort = new AbortController();
    return (this.#caller = {
      plugin: version.name,
      granted: version.granted,
      jobId: job?.id ?? "",
      correlationId: job?.options.correlationId ?? "",
      traceparent: job?.options.traceparent ?? invocation?.traceparent ?? "",
      signal: this.#abort.signal,
      sent: 0,
      onProgress: (percent, message) => {
        const nowMs = performance.now();
        if (job === undefined || nowMs - this.#toldMs < progressEveryMs) return;
        this.#toldMs = nowMs;
        onProgress(job, percent, message);
      },
    });
  }

  /** It has ended: what the host still does for it is broken off. */
  close(): void {
    this.#abort?.abort(new Error("the call has ended"));
  }
}

const none = new Uint8Array(0);

function contextOf(job: Job): CallContext {
  const { attempt, maxAttempts, deadlineMs, tags, correlationId } = job.options;
  return { jobId: job.id, attempt, maxAttempts, deadlineMs, tags, queue: job.queue, type: job.type, correlationId };
}
