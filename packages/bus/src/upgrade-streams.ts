// One file, as the order of these steps is the whole matter: whatever instruction a run is killed at, the next one finds out from the
// streams alone where it stands.
import { buckets, jobLogs, queueOfConsumer, streamTopology } from "@millrace/protocol";
import { append, appendInOrder } from "./append-in-order.ts";
import { BusError, isRefusedForNow } from "./bus-error.ts";
import { createStream } from "./ensure-stream.ts";
import { copyOf, fence, isFenced, isFormer, upgradeRoot } from "./former-streams.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import type { JsonObject } from "./json.ts";
import type { KvBucket } from "./kv-bucket.ts";
import { backoffMs, pause } from "./pause.ts";
import { getMessage, scanStream } from "./scan-stream.ts";
import { bucketConfig, streamConfig } from "./stream-config.ts";
import { decodeStreamState, listConsumers, type StreamState } from "./stream-state.ts";
import { formerSeq, intoCopy, outOfCopy, type MovedMessage } from "./upgrade-message.ts";

/** What is to be done for one stream of the former version. */
export interface UpgradeStep {
  readonly log: string;
  /** former: still to be done; copied: its jobs wait elsewhere; moving: some are in the log. */
  readonly stage: "former" | "copied" | "moving";
  readonly messages: number;
  readonly bytes: number;
  /** Workers of the former version that wait for jobs: there must be none. */
  readonly waitingPulls: number;
  /** Jobs that a worker of the former version has, or had when it ended. */
  readonly inHand: number;
}

export interface UpgradeOptions {
  readonly signal?: AbortSignal | undefined;
  /** For so long workers of the former version may still wait for jobs, before nothing is done. */
  readonly pullsEndMs?: number | undefined;
  /** Before each change on the broker. */
  readonly onChange?: ((log: string, what: string) => void) | undefined;
}

export interface UpgradedLog {
  readonly log: string;
  /** Jobs that were moved into it, by this run or one before. */
  readonly moved: number;
}

/** Workers that ended leave their pulls for a moment. */
const defaultPullsEndMs = 35_000;
const pollMs = 500;
/** Room in the copy beside what the former stream holds. */
const copyExtraBytes = 1 << 20;
const copyExtraBytesPerMessage = 128;
const mostTries = 20;

/** Which streams are of the former version, or half upgraded. Changes nothing. */
export async function planUpgrade(api: JetStreamApi): Promise<UpgradeStep[]> {
  const steps: UpgradeStep[] = [];
  for (const log of jobLogs) {
    const found = await api.find(`STREAM.INFO.${log}`);
    const copy = await api.find(`STREAM.INFO.${copyOf(log)}`);
    if (found !== undefined && isFormer(found.object("config"))) {
      const { messages, bytes } = decodeStreamState(found);
      const consumers = await listConsumers(api, log);
      const waitingPulls = consumers.reduce((sum, { waiting }) => sum + waiting, 0);
      const inHand = consumers.reduce((sum, { ackPending }) => sum + ackPending, 0);
      steps.push({ log, stage: "former", messages, bytes, waitingPulls, inHand });
    } else if (copy !== undefined) {
      const { messages, bytes } = decodeStreamState(copy);
      steps.push({
        log,
        stage: found === undefined ? "copied" : "moving",
        messages,
        bytes,
        waitingPulls: 0,
        inHand: 0,
      });
    }
  }
  return steps;
}

/**
 * Makes logs of the streams of the former version, with all the jobs that wait in them, in order, under their ids. For one at a time
 * (see LeaderLease), with nothing of the former version running. May be killed at any instruction, and run again.
 *
 * 1. The former stream takes no jobs any more (until the log is there, publishers hear that no stream does), its consumers go.
 * 2. Its jobs are copied. As it does not change, the n-th message of the copy can only be the n-th of the stream.
 * 3. It is deleted, and the log made.
 * 4. What is in the copy is published again, each with the number of its former message, by which a later run finds the place. What
 *    publishers send meanwhile may come in between.
 * 5. The copy is deleted.
 * @param known the bucket `consumers`: what queues had consumers is looked up before it runs, as it may have run
 * @throws BusError failed_precondition while workers of the former version run
 */
export async function upgradeStreams(
  api: JetStreamApi,
  known: KvBucket,
  options: UpgradeOptions = {},
): Promise<UpgradedLog[]> {
  const upgrade = new Upgrade(api, known, options);
  const steps = await planUpgrade(api);
  await upgrade.closeAll(steps.filter(({ stage }) => stage === "former").map(({ log }) => log));
  const upgraded: UpgradedLog[] = [];
  for (const { log } of steps) {
    await upgrade.copy(log);
    upgraded.push({ log, moved: await upgrade.move(log) });
  }
  return upgraded;
}

/** What an upgrade itself needs, and the former version did not have. */
export async function ensureUpgradeBuckets(api: JetStreamApi): Promise<void> {
  const copies = (await api.find(`STREAM.INFO.${jobLogs[0]}`))?.object("config").number("num_replicas") || 1;
  for (const bucket of [buckets.leaders, buckets.consumers]) {
    await createStream(api, { ...bucketConfig(bucket), num_replicas: copies });
  }
}

/** How far moving has come. */
interface MovedEnd {
  moved: number;
  /** Of the log: nothing of ours is behind it. */
  seq: number;
}

class Upgrade {
  readonly #api: JetStreamApi;
  readonly #known: KvBucket;
  readonly #options: UpgradeOptions;

  constructor(api: JetStreamApi, known: KvBucket, options: UpgradeOptions) {
    this.#api = api;
    this.#known = known;
    this.#options = options;
  }

  /** Nothing gets into the former streams any more, and nothing out of them. */
  async closeAll(logs: readonly string[]): Promise<void> {
    if (logs.length === 0) return;
    await this.#awaitNoPulls(logs);
    for (const log of logs) {
      const config = (await this.#info(log)).object("config");
      if (isFenced(log, config)) continue;
      // Of a run before which the former version was started again.
      if ((await this.#find(copyOf(log))) !== undefined)
        await this.#change(log, "forget an outdated copy", `DELETE.${copyOf(log)}`);
      this.#say(log, "close to publishers");
      await fence(this.#api, log, config);
    }
    await this.#awaitNoPulls(logs);
    const consumers = (await Promise.all(logs.map((log) => listConsumers(this.#api, log)))).flat();
    const leases = consumers.filter(({ ackPending }) => ackPending > 0).map(({ ackWaitMs }) => ackWaitMs);
    // A worker that runs a job to its end, and then ends itself, asks for none any more.
    if (leases.length > 0) await pause(Math.max(...leases), this.#signal());
    for (const log of logs) {
      for (const { name } of await listConsumers(this.#api, log)) {
        const queue = queueOfConsumer(name);
        if (queue !== undefined) await this.#remember(queue);
        this.#say(log, `remove the consumer ${name}`);
        await this.#api.requestPatiently(`CONSUMER.DELETE.${log}.${name}`, undefined).catch(unlessGone);
      }
    }
  }

  /** From the former stream to the copy; the former stream is gone then. */
  async copy(log: string): Promise<void> {
    const found = await this.#find(log);
    if (found === undefined || !isFormer(found.object("config"))) return;
    const config = found.object("config");
    const former = decodeStreamState(found);
    await this.#makeCopy(log, config, former);
    const averageBytes = former.bytes / Math.max(1, former.messages);
    let lastSeq = 0;
    await this.#patiently(
      () => lastSeq,
      async () => {
        lastSeq = decodeStreamState(await this.#info(copyOf(log))).lastSeq;
        const last = lastSeq === 0 ? undefined : await getMessage(this.#api, copyOf(log), { seq: lastSeq });
        const fromSeq = (last === undefined ? 0 : (formerSeq(last) ?? 0)) + 1;
        const range = { fromSeq, toSeq: former.lastSeq, averageBytes };
        for await (const scanned of scanStream(this.#api, log, range)) {
          // The lock of a process that was to replace an empty stream is no job.
          const jobs = scanned.filter(({ subject }) => !subject.startsWith(`${upgradeRoot}.`));
          this.#say(log, "copy jobs");
          await appendInOrder(
            this.#api,
            jobs.map((job) => intoCopy(job, { stream: log, createdMs: former.createdMs })),
            lastSeq,
          );
          lastSeq += jobs.length;
        }
      },
    );
    const copied = decodeStreamState(await this.#info(copyOf(log))).messages;
    const there = former.messages - (await this.#locks(log));
    if (copied !== there)
      throw new BusError("internal", `${copied} of the ${there} jobs of ${log} were copied: nothing is deleted`);
    await this.#change(log, "delete the former stream", `DELETE.${log}`);
  }

  /** From the copy to the log; the copy is gone then. @returns how many */
  async move(log: string): Promise<number> {
    const found = await this.#find(copyOf(log));
    if (found === undefined) return 0;
    const copy = decodeStreamState(found);
    await this.#makeLog(log, found.object("config"));
    const averageBytes = copy.bytes / Math.max(1, copy.messages);
    const end: MovedEnd = { moved: 0, seq: 0 };
    await this.#patiently(
      () => end.moved,
      async () => {
        await this.#findEnd(log, end, averageBytes);
        // The n-th of what was moved is the n-th of the copy.
        const range = { fromSeq: end.moved + 1, toSeq: copy.lastSeq, averageBytes };
        for await (const scanned of scanStream(this.#api, copyOf(log), range)) {
          this.#say(log, "move jobs");
          await this.#moveSome(log, scanned.map(outOfCopy), end, averageBytes);
        }
      },
    );
    if (end.moved !== copy.messages) {
      throw new BusError("internal", `${end.moved} of ${copy.messages} jobs are in ${log}: the copy is kept`);
    }
    await this.#change(log, "delete the copy", `DELETE.${copyOf(log)}`);
    return end.moved;
  }

  async #moveSome(log: string, messages: readonly MovedMessage[], end: MovedEnd, averageBytes: number): Promise<void> {
    const before = end.moved;
    try {
      await appendInOrder(this.#api, messages, end.seq);
      end.seq += messages.length;
      end.moved += messages.length;
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== "aborted") throw error;
      // Somebody else publishes: one at a time keeps ours in order without a condition.
      await this.#findEnd(log, end, averageBytes);
      for (const message of messages.slice(end.moved - before)) {
        end.seq = await append(this.#api, message);
        end.moved++;
      }
    }
  }

  /** Looks at what was stored since. */
  async #findEnd(log: string, end: MovedEnd, averageBytes: number): Promise<void> {
    const { firstSeq, lastSeq } = decodeStreamState(await this.#info(log));
    const range = { fromSeq: Math.max(end.seq + 1, firstSeq), toSeq: lastSeq, averageBytes };
    let found = 0;
    for await (const scanned of scanStream(this.#api, log, range)) {
      found += scanned.filter((message) => formerSeq(message) !== undefined).length;
    }
    end.moved += found;
    end.seq = lastSeq;
  }

  async #makeCopy(log: string, config: JsonObject, { bytes, messages }: StreamState): Promise<void> {
    if ((await this.#find(copyOf(log))) !== undefined) return;
    this.#say(log, "make a copy");
    await createStream(this.#api, {
      name: copyOf(log),
      subjects: [`${upgradeRoot}.${rootOf(log)}.>`],
      retention: "limits",
      storage: "file",
      discard: "new",
      max_bytes: Math.ceil(bytes * 1.1) + messages * copyExtraBytesPerMessage + copyExtraBytes,
      max_msgs: -1,
      max_age: 0,
      num_replicas: config.number("num_replicas") || 1,
    });
  }

  async #makeLog(log: string, copy: JsonObject): Promise<void> {
    const topology = streamTopology().find(({ name }) => name === log);
    if (topology === undefined) throw new RangeError(`no log is called ${log}`);
    if ((await this.#find(log)) !== undefined) return;
    this.#say(log, "make the log");
    const wanted = { ...streamConfig(topology), num_replicas: copy.number("num_replicas") || 1 };
    // What the store has no room for is made smaller: services bring it in line with what they are told.
    for (let maxBytes = wanted.max_bytes; ; maxBytes = Math.floor(maxBytes / 2)) {
      try {
        await createStream(this.#api, { ...wanted, max_bytes: maxBytes });
        return;
      } catch (error) {
        const full = error instanceof BusError && error.code === "resource_exhausted";
        if (!full || maxBytes / 2 < copy.number("max_bytes")) throw error;
      }
    }
  }

  async #awaitNoPulls(logs: readonly string[]): Promise<void> {
    for (
      const deadline = performance.now() + (this.#options.pullsEndMs ?? defaultPullsEndMs);
      ;
      await pause(pollMs, this.#signal())
    ) {
      this.#options.signal?.throwIfAborted();
      const all = await Promise.all(logs.map((log) => listConsumers(this.#api, log)));
      const busy = logs.filter((_, index) => all[index]?.some(({ waiting }) => waiting > 0));
      if (busy.length === 0) return;
      if (performance.now() < deadline) continue;
      throw new BusError(
        "failed_precondition",
        `workers of the former version wait for jobs of ${busy.join(", ")}: stop them`,
      );
    }
  }

  async #remember(queue: string): Promise<void> {
    await this.#known.create(queue, new TextEncoder().encode("{}")).catch((error: unknown) => {
      if (!(error instanceof BusError) || error.code !== "already_exists") throw error;
    });
  }

  async #locks(log: string): Promise<number> {
    const info = await this.#api.requestPatiently(`STREAM.INFO.${log}`, { subjects_filter: `${upgradeRoot}.>` });
    const counts = info.object("state").object("subjects");
    return Object.keys(counts.raw()).reduce((sum, subject) => sum + counts.number(subject), 0);
  }

  /**
   * Begins `work` again, which finds out where it stands, when it was disturbed.
   * @param progress rises with what is done: as long as it does, no try is one too many
   */
  async #patiently(progress: () => number, work: () => Promise<void>): Promise<void> {
    let reached = progress();
    for (let failures = 0; ; failures++) {
      try {
        return await work();
      } catch (error) {
        this.#options.signal?.throwIfAborted();
        if (progress() > reached) failures = 0;
        reached = progress();
        const passing =
          error instanceof BusError &&
          (error.code === "aborted" ||
            error.code === "unavailable" ||
            error.code === "deadline_exceeded" ||
            isRefusedForNow(error));
        if (!passing || failures >= mostTries) throw error;
        await pause(backoffMs(failures, 20, 2000), this.#signal());
      }
    }
  }

  #find(stream: string): Promise<JsonObject | undefined> {
    return this.#api.find(`STREAM.INFO.${stream}`);
  }

  #info(stream: string): Promise<JsonObject> {
    return this.#api.requestPatiently(`STREAM.INFO.${stream}`, undefined);
  }

  async #change(log: string, what: string, call: string): Promise<void> {
    this.#say(log, what);
    await this.#api.requestPatiently(`STREAM.${call}`, undefined).catch(unlessGone);
  }

  #say(log: string, what: string): void {
    this.#options.signal?.throwIfAborted();
    this.#options.onChange?.(log, what);
  }

  #signal(): { signal?: AbortSignal } {
    return this.#options.signal === undefined ? {} : { signal: this.#options.signal };
  }
}

/** `jobs.high` of `JOBS_HIGH`, `schedule` of `SCHEDULE`. */
function rootOf(log: string): string {
  return log.toLowerCase().replace("_", ".");
}

function unlessGone(error: unknown): void {
  if (!(error instanceof BusError) || error.code !== "not_found") throw error;
}
