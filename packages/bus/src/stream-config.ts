import type { BucketTopology, StreamTopology } from "@millrace/protocol";

/** A stream as the broker is asked for it. */
export type StreamConfig = Readonly<Record<string, unknown>> & {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly max_bytes: number;
};

const nanosecondsPerMs = 1_000_000;
const bucketDuplicateWindowMs = 120_000;
/** One on each log for every queue, and one for each process that reads. Newer brokers allow about 1,000 unless they are told. */
const mostConsumers = 100_000;

export function streamConfig(stream: StreamTopology): StreamConfig {
  return {
    name: stream.name,
    subjects: stream.subjects,
    retention: stream.retention,
    storage: "file",
    discard: stream.discard,
    max_bytes: stream.maxBytes,
    max_msgs: -1,
    max_consumers: mostConsumers,
    max_msgs_per_subject: -1,
    max_msg_size: -1,
    max_age: stream.maxAgeMs * nanosecondsPerMs,
    duplicate_window: stream.duplicateWindowMs * nanosecondsPerMs,
    allow_rollup_hdrs: false,
    // Whether an id is known already is asked so; see holdsSubject.
    allow_direct: true,
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
    max_consumers: mostConsumers,
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
