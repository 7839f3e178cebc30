import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

/** Seconds; from a no-op handler to a job of an hour. */
const runBuckets = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600,
];
const waitBuckets = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 300, 1800, 3600, 21600,
];

/** Every metric of Millrace, declared once, so that services in one process share them. */
export interface Metrics {
  readonly registry: Registry;
  /** Accepted by a stream. */
  readonly jobsSubmitted: Counter<"queue" | "priority">;
  /** Ended with success. */
  readonly jobsCompleted: Counter<"queue" | "type">;
  /** Attempts that failed, whether they are retried or not. */
  readonly jobsFailed: Counter<"queue" | "type" | "code">;
  /** Given up: attempts used up, or never able to succeed. */
  readonly jobsDead: Counter<"queue" | "type" | "code">;
  /** Stored and not taken by a worker. */
  readonly jobsPending: Gauge<"queue" | "priority">;
  /** Held by this process's executors. */
  readonly jobsRunning: Gauge<"queue">;
  /** Seconds from start to outcome of an attempt. */
  readonly runSeconds: Histogram<"queue" | "type">;
  /** Seconds from stored to started. */
  readonly waitSeconds: Histogram<"queue" | "priority">;
  /** Executors of this process by state: `idle`, `busy`, `starting`. */
  readonly executors: Gauge<"state">;
  /** Workers known to be alive. */
  readonly workers: Gauge;
  /** Jobs whose lease this process keeps alive. */
  readonly leases: Gauge;
  readonly leaseRenewals: Counter;
  /** Leases that ran out while the job was held here. */
  readonly leasesLost: Counter;
  /** Deliveries in a `Millrace-Format` that this worker does not read. */
  readonly unknownFormats: Counter<"queue">;
  /** Seconds that this machine's clock is ahead of the broker's. */
  readonly clockSkew: Gauge;
  /** Stream messages that the projection is behind. */
  readonly projectionLag: Gauge;
  /** Rows that the projection wrote. */
  readonly projectionRows: Counter;
  /** What can never be projected: unreadable messages, rows that the database refuses, rows of another job's id. */
  readonly projectionSkipped: Counter;
  readonly announcementLag: Gauge;
  readonly logTrimmableBytes: Gauge;
  readonly logHeldBytes: Gauge;
  readonly logTrimmed: Counter;
  readonly jobsRepaired: Counter;
  readonly jobsMoved: Counter;
  /** Jobs whose time had come. */
  readonly jobsReleased: Counter;
  /** Seconds by which the most overdue job of a batch left late. */
  readonly releaseDelaySeconds: Histogram<never>;
  /** Messages of EVENTS that a plugin was too far behind to be offered. */
  readonly pluginEventsMissed: Counter<"plugin">;
  /** Jobs whose subject or headers are not of a job: ended as poisoned. */
  readonly projectionRejected: Counter;
  /** Writes that failed, and are tried again. */
  readonly projectionWriteFailures: Counter;
  /** Calls of plugins by how they ended: `ok`, or the code of a JobError. */
  readonly pluginCalls: Counter<"plugin" | "code">;
  readonly pluginFuel: Counter<"plugin">;
  readonly pluginRunSeconds: Histogram<"plugin">;
  /** What plugins asked of the host, and whether they got it. */
  readonly pluginHostCalls: Counter<"function" | "outcome">;
  /** Calls of this process that wait for the host. */
  readonly pluginCallsWaiting: Gauge;
  /** Executors that did not come back and were killed. */
  readonly executorKills: Counter;
  /** New versions that were taken back by themselves. */
  readonly pluginCanariesTakenBack: Counter<"plugin">;
  /**
   * Requests that HTTP interceptors looked at, by phase (`before`, `after`) and outcome: `passed`, `denied`, and `failed_open`
   * (the request went on) or `failed_closed` (it did not).
   */
  readonly interceptorCalls: Counter<"plugin" | "phase" | "outcome">;
  /** As the request waited for it. */
  readonly interceptorSeconds: Histogram<"plugin" | "phase">;
  /** RPC calls by method, door (`rest`, `connect`, `grpc`, …) and code (`ok`, `not_found`, …). */
  readonly rpcCalls: Counter<"method" | "door" | "code">;
  readonly rpcSeconds: Histogram<"method" | "door">;
  /** What the doors refused: `unauthenticated`, `permission`, `rate_limit`, `csrf`, `overloaded`, … */
  readonly refusals: Counter<"reason">;
  /** Calls to the services behind the gateway that were made again. */
  readonly upstreamRetries: Counter<"service">;
  /** Calls that were not made: `open` (the breaker), `full` (the bulkhead). */
  readonly upstreamRejections: Counter<"service" | "reason">;
  /** Methods whose breaker is open. */
  readonly upstreamOpen: Gauge<"service">;
  /** Runs before each scrape, for gauges that are asked for instead of kept. Dispose to remove it. */
  beforeScrape(collect: () => void | Promise<void>): Disposable;
  /** The text format that Prometheus reads. */
  expose(): Promise<{ contentType: string; text: string }>;
}

/** Makes a registry of its own: two systems in one process, as tests run them, do not mix. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> =>
    new Counter<L>({ name: `millrace_${name}`, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> =>
    new Gauge<L>({ name: `millrace_${name}`, help, labelNames, registers });
  const histogram = <L extends string>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly L[],
  ): Histogram<L> => new Histogram<L>({ name: `millrace_${name}`, help, labelNames, buckets, registers });

  // The process metrics read Node's internals (event loop delay, heap spaces), which Deno does not have.
  if (!("Deno" in globalThis)) collectDefaultMetrics({ register: registry });

  const collectors = new Set<() => void | Promise<void>>();
  return {
    registry,
    jobsSubmitted: counter("jobs_submitted_total", "Jobs accepted", ["queue", "priority"]),
    jobsCompleted: counter("jobs_completed_total", "Jobs that succeeded", ["queue", "type"]),
    jobsFailed: counter("jobs_failed_total", "Attempts that failed", ["queue", "type", "code"]),
    jobsDead: counter("jobs_dead_total", "Jobs that were given up", ["queue", "type", "code"]),
    jobsPending: gauge("jobs_pending", "Jobs that wait for a worker", ["queue", "priority"]),
    jobsRunning: gauge("jobs_running", "Jobs that run in this process", ["queue"]),
    runSeconds: histogram("job_run_seconds", "Duration of an attempt", runBuckets, ["queue", "type"]),
    waitSeconds: histogram("job_wait_seconds", "Time from accepted to started", waitBuckets, ["queue", "priority"]),
    executors: gauge("worker_executors", "Executors of this process", ["state"]),
    workers: gauge("workers", "Workers that are alive"),
    leases: gauge("worker_leases", "Jobs whose lease this process keeps"),
    leaseRenewals: counter("worker_lease_renewals_total", "In-progress acks sent"),
    leasesLost: counter("worker_leases_lost_total", "Leases that ran out while the job was held"),
    unknownFormats: counter("unknown_formats_total", "Jobs of a format that the worker does not read", ["queue"]),
    clockSkew: gauge("clock_skew_seconds", "How far the clock of this machine is ahead of the broker's"),
    projectionLag: gauge("projection_lag_messages", "Stream messages that the projection is behind"),
    jobsReleased: counter(
      "jobs_released_total",
      "Jobs that waited for their time, and were published when it had come",
    ),
    releaseDelaySeconds: histogram(
      "job_release_delay_seconds",
      "Seconds by which the most overdue job of a batch left late",
      waitBuckets,
      [],
    ),
    pluginEventsMissed: counter(
      "plugin_events_missed_total",
      "Messages of EVENTS that a plugin was not offered, as it was too far behind or they had gone",
      ["plugin"],
    ),
    projectionRows: counter("projection_rows_total", "Rows written by the projection"),
    announcementLag: gauge(
      "announcement_lag_messages",
      "Messages of the job logs that are not announced in EVENTS yet",
    ),
    logTrimmableBytes: gauge("log_trimmable_bytes", "Bytes of a log that may be trimmed, about", ["log"]),
    logHeldBytes: gauge("log_held_bytes", "Bytes of a log from the first message on that must stay, about", ["log"]),
    logTrimmed: counter("log_trimmed_messages_total", "Messages that were trimmed from a log, about", ["log"]),
    jobsRepaired: counter("jobs_repaired_total", "Stranded jobs that were published again", ["why"]),
    jobsMoved: counter("jobs_moved_total", "Waiting jobs that were moved to the end of their log", ["log"]),
    projectionSkipped: counter("projection_skipped_total", "Messages and rows that can never be projected"),
    projectionRejected: counter("projection_rejected_total", "Jobs that cannot be read, and are dead"),
    projectionWriteFailures: counter("projection_write_failures_total", "Writes of the projection tried again"),
    pluginCalls: counter("plugin_calls_total", "Calls of plugins", ["plugin", "code"]),
    pluginFuel: counter("plugin_fuel_total", "Fuel that plugins used", ["plugin"]),
    pluginRunSeconds: histogram("plugin_run_seconds", "Duration of a plugin's call", runBuckets, ["plugin"]),
    pluginHostCalls: counter("plugin_host_calls_total", "Calls of host functions", ["function", "outcome"]),
    pluginCallsWaiting: gauge("plugin_calls_waiting", "Calls of plugins that wait for the host"),
    executorKills: counter("executor_kills_total", "Executors that had to be killed"),
    pluginCanariesTakenBack: counter("plugin_canaries_taken_back_total", "Canaries that were taken back", ["plugin"]),
    interceptorCalls: counter("interceptor_calls_total", "Requests that interceptors looked at", [
      "plugin",
      "phase",
      "outcome",
    ]),
    interceptorSeconds: histogram("interceptor_seconds", "Time that requests waited for an interceptor", runBuckets, [
      "plugin",
      "phase",
    ]),
    rpcCalls: counter("rpc_calls_total", "RPC calls", ["method", "door", "code"]),
    rpcSeconds: histogram("rpc_seconds", "Duration of RPC calls", runBuckets, ["method", "door"]),
    refusals: counter("refusals_total", "Requests refused at the doors", ["reason"]),
    upstreamRetries: counter("upstream_retries_total", "Calls to services made again", ["service"]),
    upstreamRejections: counter("upstream_rejections_total", "Calls to services not made", ["service", "reason"]),
    upstreamOpen: gauge("upstream_open_breakers", "Methods that are not called for now", ["service"]),
    beforeScrape(collect) {
      collectors.add(collect);
      return { [Symbol.dispose]: () => void collectors.delete(collect) };
    },
    async expose() {
      // One collector that fails must not take the other figures away; its gauge keeps the last value.
      await Promise.allSettled([...collectors].map(async (collect) => collect()));
      return { contentType: registry.contentType, text: await registry.metrics() };
    },
  };
}
