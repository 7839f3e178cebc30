import {
  buckets,
  defaultTopologyLimits,
  eventsStream,
  jobLogs,
  moduleBucket,
  scheduleStream,
  streamTopology,
  type TopologyLimits,
} from "@millrace/protocol";
import { BusError, natsCodes } from "./bus-error.ts";
import { alignStream, createStream, raiseIfAllowed, refuseFixed } from "./ensure-stream.ts";
import { isFormer, refuseFormerJobs, retireFormer } from "./former-streams.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import type { JsonObject } from "./json.ts";
import { leastStreamBytes, planSizes, type SizedStream } from "./plan-sizes.ts";
import { requireReplicas } from "./require-replicas.ts";
import { storeBudget } from "./store-budget.ts";
import { bucketConfig, objectStoreConfig, streamConfig, type StreamConfig } from "./stream-config.ts";

/** What is left out stays as it is where a stream is there, and is Millrace's choice for a new one. */
export interface TopologyOptions {
  readonly limits?: { readonly [K in keyof TopologyLimits]?: TopologyLimits[K] | undefined };
  /** Copies of every stream and bucket in a cluster: 1, 3 or 5. */
  readonly replicas?: number | undefined;
  readonly moduleBytes?: number | undefined;
  /** Where the broker keeps its streams, when that is on this machine: new ones leave a reserve of that disk. */
  readonly storeDir?: string | undefined;
}

/** What there should be of one stream. */
interface Wanted extends SizedStream {
  readonly config: StreamConfig;
  /** Nobody has said how long its messages stay. */
  readonly ageKept: boolean;
}

/** A cluster that starts needs so long to find its leaders. */
const clusterStartMs = 60_000;
const defaultModuleBytes = 2 * 2 ** 30;

/**
 * Makes every stream and bucket that Millrace needs, or brings it in line. Many processes may do this at the same time.
 * What came of it is read back and compared.
 * @throws BusError failed_precondition when a stream of that name differs in a way that cannot be changed, with the differences, or
 * is a former version's and holds jobs, or the cluster is too old for `replicas`; resource_exhausted when the broker has no room for
 * the smallest streams
 */
export async function ensureTopology(jetStream: JetStreamApi, options: TopologyOptions = {}): Promise<void> {
  const { replicas } = options;
  const api = jetStream.withPatience(clusterStartMs);
  if (replicas !== undefined && replicas > 1) await requireReplicas(api, replicas);
  // A start that is refused changes nothing: all is looked at first.
  await refuseFormerJobs(api);
  const all = await Promise.all(
    wantedStreams(options).map(async (wanted) => ({ wanted, found: await configOf(api, wanted.name) })),
  );
  const isToRetire = ({ name }: Wanted, found: JsonObject): boolean => jobLogs.includes(name) && isFormer(found);
  for (const { wanted, found } of all) {
    if (found !== undefined && !isToRetire(wanted, found)) refuseFixed(wanted.config, found);
  }
  const missing: Wanted[] = [];
  let reservedBytes = 0;
  for (const { wanted, found: before } of all) {
    let found = before;
    if (found !== undefined && isToRetire(wanted, found)) {
      await retireFormer(api, wanted.name);
      found = await configOf(api, wanted.name);
    }
    if (found === undefined) missing.push(wanted);
    else {
      reservedBytes += Math.max(0, found.number("max_bytes"));
      await align(api, wanted, found, replicas);
    }
  }
  if (missing.length > 0) await makeStreams(api, missing, { ...options, reservedBytes });
}

function wantedStreams({ limits = {}, moduleBytes }: TopologyOptions): Wanted[] {
  const all: TopologyLimits = {
    jobStreamBytes: limits.jobStreamBytes ?? defaultTopologyLimits.jobStreamBytes,
    scheduleStreamBytes: limits.scheduleStreamBytes ?? defaultTopologyLimits.scheduleStreamBytes,
    eventsBytes: limits.eventsBytes ?? defaultTopologyLimits.eventsBytes,
    eventsMaxAgeMs: limits.eventsMaxAgeMs ?? defaultTopologyLimits.eventsMaxAgeMs,
  };
  const isGiven = (name: string): boolean => {
    if (name === eventsStream) return limits.eventsBytes !== undefined;
    if (name === scheduleStream) return limits.scheduleStreamBytes !== undefined;
    return jobLogs.includes(name) && limits.jobStreamBytes !== undefined;
  };
  const wanted = (config: StreamConfig, kind: SizedStream["kind"], given: boolean): Wanted => ({
    name: config.name,
    maxBytes: config.max_bytes,
    kind,
    given,
    config,
    ageKept: config.name === eventsStream && limits.eventsMaxAgeMs === undefined,
  });
  return [
    ...Object.values(buckets).map((bucket) => wanted(bucketConfig(bucket), "bucket", false)),
    wanted(objectStoreConfig(moduleBucket, moduleBytes ?? defaultModuleBytes), "bucket", moduleBytes !== undefined),
    ...streamTopology(all).map((stream) => wanted(streamConfig(stream), "log", isGiven(stream.name))),
  ];
}

async function configOf(api: JetStreamApi, stream: string): Promise<JsonObject | undefined> {
  return (await api.find(`STREAM.INFO.${stream}`))?.object("config");
}

async function align(
  api: JetStreamApi,
  { config, given, kind, ageKept }: Wanted,
  found: JsonObject,
  replicas: number | undefined,
): Promise<void> {
  const { max_bytes: maxBytes, max_age: maxAge, ...rest } = config;
  const wanted = {
    ...rest,
    ...(given ? { max_bytes: maxBytes } : {}),
    ...(ageKept ? {} : { max_age: maxAge }),
    ...(replicas === undefined ? {} : { num_replicas: replicas }),
  };
  let current = await alignStream(api, wanted, found);
  // A log's size is the operator's business, a bucket's is ours.
  if (kind === "bucket" && !given) current = await raiseIfAllowed(api, config, current, "max_bytes");
  await raiseIfAllowed(api, config, current, "max_consumers");
}

/** New streams, together within what the store has left; where it does not tell, half as large until it takes them. */
async function makeStreams(
  api: JetStreamApi,
  missing: readonly Wanted[],
  options: TopologyOptions & { readonly reservedBytes: number },
): Promise<void> {
  const { replicas = 1, storeDir, reservedBytes } = options;
  const budget = await storeBudget(api, { replicas, storeDir, reservedBytes });
  const made = new Set<string>();
  for (let budgetBytes = budget.bytes; ;) {
    const sizes = planSizes(missing, budgetBytes);
    if (await makeAll(api, missing, sizes, replicas, made)) return report(api, missing, sizes, budget.from);
    const planned = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
    if (missing.every(({ name, given }) => given || (sizes.get(name) ?? 0) <= leastStreamBytes)) {
      throw new BusError("resource_exhausted", `the broker has no room for streams of ${planned} bytes`);
    }
    budgetBytes = planned / 2;
  }
}

/** @returns false when the store has no room for as much; what was made by then is in `made`, to be made smaller */
async function makeAll(
  api: JetStreamApi,
  missing: readonly Wanted[],
  sizes: ReadonlyMap<string, number>,
  replicas: number,
  made: Set<string>,
): Promise<boolean> {
  // Those that are there first: they give room to the others.
  for (const wanted of missing.toSorted((a, b) => Number(made.has(b.name)) - Number(made.has(a.name)))) {
    const { name } = wanted;
    const config = { ...wanted.config, max_bytes: sizes.get(name) ?? wanted.maxBytes, num_replicas: replicas };
    try {
      const found = await configOf(api, name);
      if (found === undefined) {
        if (await createStream(api, config)) made.add(name);
      } else if (made.has(name)) await alignStream(api, config, found);
      // Another process was faster, and chose the size.
      else await align(api, wanted, found, undefined);
    } catch (error) {
      if (error instanceof BusError && error.natsCode === natsCodes.storageExceeded) return false;
      throw error;
    }
  }
  // What came of it, whoever made it.
  for (const { name, config } of missing) {
    const { max_bytes: _chosen, ...rest } = config;
    const found = await configOf(api, name);
    if (found === undefined) throw new BusError("unavailable", `stream ${name} is gone again`);
    await alignStream(api, rest, found);
  }
  return true;
}

function report(api: JetStreamApi, missing: readonly Wanted[], sizes: ReadonlyMap<string, number>, from: string): void {
  const smaller = missing.filter(({ name, maxBytes }) => (sizes.get(name) ?? maxBytes) < maxBytes);
  api.link.logger.info({ streams: Object.fromEntries(sizes) }, "streams made");
  if (smaller.length === 0) return;
  const streams = Object.fromEntries(
    smaller.map(({ name, maxBytes }) => [name, { wanted: maxBytes, has: sizes.get(name) }]),
  );
  api.link.logger.warn({ streams, from }, "streams are smaller than they should be: the broker's store has no room");
}
