import { priorityName, type PriorityLevel, type PriorityName } from "./priority.ts";
import { subjectRoots } from "./subjects.ts";

/**
 * What exists on the broker, as data: streams, consumers, buckets. Durations in ms (`Ms`), sizes in bytes (`Bytes`).
 */
export interface StreamTopology {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly retention: "workqueue" | "limits";
  readonly maxBytes: number;
  /** 0: no bound. */
  readonly maxAgeMs: number;
  readonly duplicateWindowMs: number;
  /** Full: refuse new messages, or drop old ones. */
  readonly discard: "new" | "old";
  readonly republish?: { readonly source: string; readonly destination: string };
}

export interface BucketTopology {
  readonly name: string;
  readonly maxBytes: number;
  /** 0: entries do not age. */
  readonly ttlMs: number;
}

export const eventsStream = "EVENTS";
export const scheduleStream = "SCHEDULE";

/** `JOBS_HIGH` for `high`. */
export function jobStream(priority: PriorityName): string {
  return `JOBS_${priority.toUpperCase()}`;
}

/** Durable consumer of a queue; one on each of the four job streams. */
export function queueConsumer(queue: string): string {
  return `w_${queue}`;
}

export function queueFilter(level: PriorityLevel, queue: string): string {
  return `${subjectRoots.jobs}.${priorityName(level)}.${queue}.>`;
}

export const schedulerConsumer = "scheduler";

export const buckets = {
  queues: { name: "millrace_queues", maxBytes: 16 << 20, ttlMs: 0 },
  cancel: { name: "millrace_cancel", maxBytes: 256 << 20, ttlMs: 0 },
  unique: { name: "millrace_unique", maxBytes: 256 << 20, ttlMs: 0 },
  plugins: { name: "millrace_plugins", maxBytes: 64 << 20, ttlMs: 0 },
  /** Which plugin took a job type last, by type, so that two never get the same one. */
  pluginTypes: { name: "millrace_plugin_types", maxBytes: 4 << 20, ttlMs: 0 },
  /** Trusted keys by their key id: a PluginKey in protobuf's JSON. */
  pluginKeys: { name: "millrace_plugin_keys", maxBytes: 4 << 20, ttlMs: 0 },
  /** Key-value state of plugins, under `<plugin>.<key>`. */
  pluginState: { name: "millrace_plugin_state", maxBytes: 2 ** 30, ttlMs: 0 },
  /** What failed calls did, by job id: a Recording in protobuf. */
  recordings: { name: "millrace_recordings", maxBytes: 256 << 20, ttlMs: 24 * 3_600_000 },
  /** How far a plugin has heard of events. */
  eventCursors: { name: "millrace_event_cursors", maxBytes: 4 << 20, ttlMs: 0 },
  crashes: { name: "millrace_crashes", maxBytes: 64 << 20, ttlMs: 24 * 3_600_000 },
  settings: { name: "millrace_settings", maxBytes: 16 << 20, ttlMs: 0 },
  /** What processes are set to, under `<process>.<node>`: ProcessSettings in protobuf's JSON. */
  processes: { name: "millrace_processes", maxBytes: 64 << 20, ttlMs: 60_000 },
} as const satisfies Record<string, BucketTopology>;

/** Object store that holds plugin modules by their sha256. */
export const moduleBucket = "millrace_modules";

/** Bounds that an operator may set. */
export interface TopologyLimits {
  /** Each of the four job streams. */
  readonly jobStreamBytes: number;
  readonly scheduleStreamBytes: number;
  readonly eventsBytes: number;
  readonly eventsMaxAgeMs: number;
}

export const defaultTopologyLimits: TopologyLimits = {
  jobStreamBytes: 4 * 2 ** 30,
  scheduleStreamBytes: 2 ** 30,
  eventsBytes: 8 * 2 ** 30,
  eventsMaxAgeMs: 7 * 24 * 3_600_000,
};

export const duplicateWindowMs = 20_000;

export function streamTopology(limits: TopologyLimits = defaultTopologyLimits): readonly StreamTopology[] {
  const jobs = (["critical", "high", "normal", "low"] as const).map((priority): StreamTopology => ({
    name: jobStream(priority),
    // A consumer's filter must be a subset of one of these (nats-server 2.9), so any depth is taken; a subject of
    // another shape becomes a dead letter.
    subjects: [`jobs.${priority}.>`],
    retention: "workqueue",
    maxBytes: limits.jobStreamBytes,
    maxAgeMs: 0,
    duplicateWindowMs,
    discard: "new",
    republish: { source: "jobs.>", destination: `${subjectRoots.submitted}.>` },
  }));
  return [
    // First, so that nothing is republished into a stream that is not there yet.
    {
      name: eventsStream,
      subjects: ["events.>"],
      retention: "limits",
      maxBytes: limits.eventsBytes,
      maxAgeMs: limits.eventsMaxAgeMs,
      duplicateWindowMs,
      discard: "new",
    },
    ...jobs,
    {
      name: scheduleStream,
      subjects: ["schedule.*.*.*.*", "schedule.*.*.*.*.*"],
      retention: "workqueue",
      maxBytes: limits.scheduleStreamBytes,
      maxAgeMs: 0,
      duplicateWindowMs,
      discard: "new",
      republish: { source: "schedule.>", destination: `${subjectRoots.scheduled}.>` },
    },
  ];
}
