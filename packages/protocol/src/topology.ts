import { priorityName, priorityNames, type PriorityLevel, type PriorityName } from "./priority.ts";
import { subjectRoots } from "./subjects.ts";

/**
 * What exists on the broker, as data: streams, consumers, buckets. Durations in ms (`Ms`), sizes in bytes (`Bytes`).
 */
export interface StreamTopology {
  readonly name: string;
  readonly subjects: readonly string[];
  /** An ack removes nothing: any number of readers read the same messages, each at its own place. */
  readonly retention: "limits";
  readonly maxBytes: number;
  /** 0: no bound. */
  readonly maxAgeMs: number;
  readonly duplicateWindowMs: number;
  /** Full: refuse new messages, or drop old ones. */
  readonly discard: "new" | "old";
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

/** @returns undefined for a consumer that is no queue's */
export function queueOfConsumer(name: string): string | undefined {
  return name.startsWith("w_") ? name.slice(2) : undefined;
}

export function queueFilter(level: PriorityLevel, queue: string): string {
  return `${subjectRoots.jobs}.${priorityName(level)}.${queue}.>`;
}

/** The streams that jobs come in by. The projector reads all of them, and alone trims them. */
export const jobLogs: readonly string[] = [...priorityNames.map(jobStream), scheduleStream];

export const buckets = {
  queues: { name: "millrace_queues", maxBytes: 16 << 20, ttlMs: 0 },
  /** Which runs of jobs are to be cancelled, by job id, and which places in logs are barred; see cancel-mark.ts. */
  cancel: { name: "millrace_cancel", maxBytes: 256 << 20, ttlMs: 0 },
  /** Queues that have had consumers, by their names: one that is made anew looks up what it delivers. */
  consumers: { name: "millrace_consumers", maxBytes: 16 << 20, ttlMs: 0 },
  /** Workers that live, by their ids: a WorkerRecord in JSON, written again before it ages. */
  workers: { name: "millrace_workers", maxBytes: 16 << 20, ttlMs: 30_000 },
  /** Who leads for what, by the name of the work. */
  leaders: { name: "millrace_leaders", maxBytes: 1 << 20, ttlMs: 0 },
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

/**
 * An hour without Postgres at 2,000 jobs of 1 KiB a second, all of one priority: 7.2 million jobs of some 1.4 KiB with what belongs to
 * them. Where the broker's disk does not allow it, new streams are made smaller.
 */
const hourOfJobsBytes = 10 * 2 ** 30;

export const defaultTopologyLimits: TopologyLimits = {
  jobStreamBytes: hourOfJobsBytes,
  scheduleStreamBytes: hourOfJobsBytes,
  eventsBytes: hourOfJobsBytes,
  eventsMaxAgeMs: 7 * 24 * 3_600_000,
};

export const duplicateWindowMs = 20_000;

export function streamTopology(limits: TopologyLimits = defaultTopologyLimits): readonly StreamTopology[] {
  const log = { retention: "limits", maxAgeMs: 0, duplicateWindowMs, discard: "new" } as const;
  const jobs = priorityNames.map((priority): StreamTopology => ({
    ...log,
    name: jobStream(priority),
    // A consumer's filter must be a subset of one of these (nats-server 2.9), so any depth is taken; a subject of
    // another shape becomes a dead letter.
    subjects: [`jobs.${priority}.>`],
    maxBytes: limits.jobStreamBytes,
  }));
  return [
    {
      ...log,
      name: eventsStream,
      subjects: ["events.>"],
      maxBytes: limits.eventsBytes,
      maxAgeMs: limits.eventsMaxAgeMs,
    },
    ...jobs,
    {
      ...log,
      name: scheduleStream,
      subjects: ["schedule.*.*.*.*", "schedule.*.*.*.*.*"],
      maxBytes: limits.scheduleStreamBytes,
    },
  ];
}
