import type { BusLogger } from "@millrace/bus";
import type { CallResult, HostFunction, LogEntry } from "@millrace/plugin-host";
import { EventKind, eventName, priorityName, type EventFields } from "@millrace/protocol";
import { SpanStatusCode, startSpan, tracingEnabled, type Metrics } from "@millrace/service-kit";
import type { Job } from "./job.ts";
import type { RunnableVersion } from "./plugins/runnable-version.ts";

/** Each thing that happens in a worker, told once: its counters, its span and its log line together. */
export class WorkerTelemetry {
  readonly #logger: BusLogger;
  readonly #metrics: Metrics | undefined;

  constructor(logger: BusLogger, metrics: Metrics | undefined) {
    this.#logger = logger;
    this.#metrics = metrics;
  }

  ended(job: Job, event: EventFields): void {
    if (this.#metrics !== undefined) this.#count(this.#metrics, job, event);
    if (tracingEnabled() && job.startedAtMs > 0) this.#span(job, event);
    if (event.kind === EventKind.SUCCEEDED) return;
    this.#logger.info(
      {
        job: job.id,
        queue: job.queue,
        type: job.type,
        attempt: event.attempt,
        code: event.errorCode,
        error: event.errorMessage,
        traceparent: event.traceparent,
      },
      `job ${eventName(event.kind)}`,
    );
  }

  leaseLost(job: Job): void {
    this.#metrics?.leasesLost.inc();
    this.#logger.warn(
      { job: job.id, queue: job.queue, type: job.type, phase: job.phase },
      "lease lost: outcome dropped",
    );
  }

  /** @param isFirst of its format: each further one is only counted */
  unknownFormat(queue: string, format: string, isFirst: boolean): void {
    this.#metrics?.unknownFormats.inc({ queue });
    if (isFirst) this.#logger.warn({ queue, format }, "a job of a format that this worker does not read: given back");
  }

  clockSkew(skewMs: number): void {
    this.#logger.warn({ skewMs }, "this machine's clock is wrong: jobs are judged by the broker's");
  }

  trouble(what: string, error: unknown): void {
    this.#logger.warn({ err: error }, what);
  }

  failure(path: string, error: unknown): void {
    this.#logger.error({ actor: path, err: error }, "actor failed");
  }

  pluginCall(version: RunnableVersion, job: Job | undefined, result: CallResult, logs: readonly LogEntry[]): void {
    const metrics = this.#metrics;
    metrics?.pluginCalls.inc({ plugin: version.name, code: result.ok ? "ok" : result.code });
    metrics?.pluginFuel.inc({ plugin: version.name }, result.fuel);
    metrics?.pluginRunSeconds.observe({ plugin: version.name }, result.durationUs / 1e6);
    for (const { level, text } of logs) {
      this.#logger.debug({ job: job?.id, type: job?.type, plugin: version.label, level, text }, "plugin log");
    }
  }

  hostCall(name: HostFunction, outcome: "ok" | "denied" | "failed"): void {
    this.#metrics?.pluginHostCalls.inc({ function: name, outcome });
  }

  executorKilled(): void {
    this.#metrics?.executorKills.inc();
    this.#logger.warn({}, "executor killed: its call did not end");
  }

  #count(metrics: Metrics, job: Job, event: EventFields): void {
    const labels = { queue: job.queue, type: job.type };
    const code = event.errorCode ?? "";
    if (job.startedAtMs > 0) {
      metrics.runSeconds.observe(labels, (event.runUs ?? 0) / 1e6);
      const waitMs = Math.max(0, job.startedAtMs - job.delivery.timestampMs);
      metrics.waitSeconds.observe({ queue: job.queue, priority: priorityName(job.level) }, waitMs / 1000);
    }
    if (event.kind === EventKind.SUCCEEDED) metrics.jobsCompleted.inc(labels);
    else if (event.kind === EventKind.RETRIED && code !== "") metrics.jobsFailed.inc({ ...labels, code });
    else if (event.kind === EventKind.DEAD) {
      metrics.jobsFailed.inc({ ...labels, code });
      metrics.jobsDead.inc({ ...labels, code });
    }
  }

  #span(job: Job, event: EventFields): void {
    const span = startSpan(`run ${job.type}`, {
      traceparent: event.traceparent,
      startTime: job.startedAtMs,
      attributes: {
        "millrace.job.id": job.id,
        "millrace.job.queue": job.queue,
        "millrace.job.type": job.type,
        "millrace.job.attempt": event.attempt,
        "millrace.job.outcome": eventName(event.kind),
      },
    });
    if (event.kind !== EventKind.SUCCEEDED) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: event.errorMessage ?? "" });
    }
    span.end();
  }
}
