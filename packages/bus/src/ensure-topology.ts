import {
  buckets,
  defaultTopologyLimits,
  moduleBucket,
  streamTopology,
  type BucketTopology,
  type StreamTopology,
  type TopologyLimits,
} from "@millrace/protocol";
import { BusError } from "./bus-error.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import type { JsonObject } from "./json.ts";

export interface TopologyOptions {
  readonly limits?: TopologyLimits;
  /** Copies of every stream in a cluster: 1, 3 or 5. */
  readonly replicas?: number;
  readonly moduleBytes?: number;
}

type StreamConfig = Readonly<Record<string, unknown>>;

const nanosecondsPerMs = 1_000_000;
const bucketDuplicateWindowMs = 120_000;
const defaultModuleBytes = 2 * 2 ** 30;

/** What cannot be changed on a live stream, or should not be without a person. */
const fixedFields = ["retention", "storage", "discard", "max_msgs_per_subject"] as const;
/** What is brought in line with what is asked for. */
const adjustableFields = [
  "subjects",
  "max_bytes",
  "max_age",
  "duplicate_window",
  "republish",
  "allow_rollup_hdrs",
  "allow_direct",
  "num_replicas",
] as const;

/**
 * Makes every stream and bucket that Millrace needs, or brings it in line. Many processes may do this at the same time.
 * What came of it is read back and compared.
 * @throws BusError failed_precondition when a stream of that name differs in a way that cannot be changed, with the differences
 */
export async function ensureTopology(api: JetStreamApi, options: TopologyOptions = {}): Promise<void> {
  const replicas = options.replicas ?? 1;
  for (const stream of streamTopology(options.limits ?? defaultTopologyLimits)) {
    await ensureStream(api, { ...streamConfig(stream), num_replicas: replicas });
  }
  for (const bucket of Object.values(buckets))
    await ensureStream(api, { ...bucketConfig(bucket), num_replicas: replicas });
  const modules = objectStoreConfig(moduleBucket, options.moduleBytes ?? defaultModuleBytes);
  await ensureStream(api, { ...modules, num_replicas: replicas });
}

function streamConfig(stream: StreamTopology): StreamConfig {
  return {
    name: stream.name,
    subjects: stream.subjects,
    retention: stream.retention,
    storage: "file",
    discard: stream.discard,
    max_bytes: stream.maxBytes,
    max_msgs: -1,
    max_consumers: -1,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    max_age: stream.maxAgeMs * nanosecondsPerMs,
    duplicate_window: stream.duplicateWindowMs * nanosecondsPerMs,
    allow_rollup_hdrs: false,
    allow_direct: false,
    ...(stream.republish === undefined
      ? {}
      : { republish: { src: stream.republish.source, dest: stream.republish.destination } }),
  };
}

/** A bucket as every NATS client makes it, so that theirs work with it too. */
export function bucketConfig(bucket: BucketTopology): StreamConfig {
  const windowMs = bucket.ttlMs === 0 ? bucketDuplicateWindowMs : Math.min(bucket.ttlMs, bucketDuplicateWindowMs);
  return {
    name: `KV_${bucket.name}`,
    subjects: [`$KV.${bucket.name}.>`],
    retention: "limits",
    storage: "file",
    discard: "new",
    max_bytes: bucket.maxBytes,
    max_msgs: -1,
    max_consumers: -1,
    max_msgs_per_subject: 1,
    max_msg_size: -1,
    max_age: bucket.ttlMs * nanosecondsPerMs,
    duplicate_window: windowMs * nanosecondsPerMs,
    allow_rollup_hdrs: true,
    allow_direct: true,
  };
}

export function objectStoreConfig(name: string, maxBytes: number): StreamConfig {
  return {
    name: `OBJ_${name}`,
    subjects: [`$O.${name}.C.>`, `$O.${name}.M.>`],
    retention: "limits",
    storage: "file",
    discard: "new",
    max_bytes: maxBytes,
    max_msgs: -1,
    max_consumers: -1,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    max_age: 0,
    duplicate_window: bucketDuplicateWindowMs * nanosecondsPerMs,
    allow_rollup_hdrs: true,
    allow_direct: true,
  };
}

/** Makes one stream, or brings it in line. */
export async function ensureStream(api: JetStreamApi, wanted: StreamConfig): Promise<void> {
  const name = String(wanted["name"]);
  let found = await api.find(`STREAM.INFO.${name}`);
  if (found === undefined) {
    await api.requestPatiently(`STREAM.CREATE.${name}`, wanted);
    found = await api.requestPatiently(`STREAM.INFO.${name}`, undefined);
  }
  let current = found.object("config");
  const fixed = differences(current, wanted, fixedFields);
  if (fixed.length > 0) throw refuse(name, fixed);
  if (differences(current, wanted, adjustableFields).length === 0) return;
  // What we do not know of (a newer broker's fields) stays as it is.
  await api.requestPatiently(`STREAM.UPDATE.${name}`, { ...current.raw(), ...wanted });
  current = (await api.requestPatiently(`STREAM.INFO.${name}`, undefined)).object("config");
  const left = differences(current, wanted, adjustableFields);
  if (left.length > 0) throw refuse(name, left);
}

function refuse(name: string, differing: readonly string[]): BusError {
  return new BusError("failed_precondition", `stream ${name} is not as Millrace needs it: ${differing.join("; ")}`);
}

function differences(current: JsonObject, wanted: StreamConfig, fields: readonly string[]): string[] {
  return fields.flatMap((field) => {
    const is = comparable(current.raw()[field]);
    const should = comparable(wanted[field]);
    return is === should ? [] : [`${field} is ${is}, should be ${should}`];
  });
}

/** Old brokers leave out what is off, zero or empty; republish comes back with its defaults filled in. */
function comparable(value: unknown): string {
  if (value === undefined || value === null || value === false || value === 0) return "off";
  if (Array.isArray(value)) return JSON.stringify([...value].toSorted());
  if (typeof value === "object") {
    const { src, dest } = value as { src?: unknown; dest?: unknown };
    return `${String(src)} → ${String(dest)}`;
  }
  return String(value);
}
