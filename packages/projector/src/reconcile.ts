import type { Bus, LiveWorkers, LoggedMessage } from "@millrace/bus";
import {
  attemptOfVersion,
  eventsStream,
  isTerminal,
  jobAnew,
  jobIdOf,
  jobStream,
  moveOfVersion,
  parseJobSubject,
  priorityNames,
  queueOfConsumer,
  runOfVersion,
} from "@millrace/protocol";
import type { PlacedJob, Store } from "@millrace/store";
import type { ProjectorLogger, ProjectorMetrics } from "./projector-signals.ts";
import { wait } from "./wait.ts";

/** Jobs of one look at a log: the next look goes on from there. */
const mostInOneLook = 500;
/** Messages that are asked for at one time. */
const atOnce = 25;
/** The lease of a queue that nobody has said otherwise of. */
const usualLeaseMs = 30_000;

const logs = priorityNames.map(jobStream);

export interface ReconcileOptions {
  readonly bus: Bus;
  readonly store: Store;
  readonly workers: LiveWorkers;
  readonly logger: ProjectorLogger;
  readonly metrics: ProjectorMetrics;
  readonly whenProjected: (seqs: ReadonlyMap<string, number>) => Promise<void>;
  readonly signal: AbortSignal;
  /** 0: as the consumers say. */
  readonly leaseMs: number;
}

/** Why nobody would deliver a job any more. */
export type StrandedWhy = "acknowledged without an end" | "no longer in its log" | "another message has its place";

export interface StrandedJob {
  readonly job: PlacedJob;
  readonly why: StrandedWhy;
}

/** Of a consumer that waits for acks. */
interface Pending {
  readonly deliveredSeq: number;
  readonly ackPending: number;
}

export interface LookOptions {
  /** In each log: places up to here were compared with what lies there. Moved on by the look. */
  readonly compared: Map<string, number>;
  /**
   * Also what lies below the first message of its log. Nobody but the projector trims, and never above an unfinished job: so somebody
   * else has, and means it.
   */
  readonly belowFirst: ReadonlySet<string>;
}

export interface Look {
  readonly stranded: readonly StrandedJob[];
  readonly looked: number;
  /** Unfinished jobs below the first message of their log that are left alone. */
  readonly purged: readonly PlacedJob[];
  readonly leaseMs: number;
}

/**
 * Looks for unfinished jobs that nobody would deliver any more. The order makes it sound: consumers first, then the ends of all
 * logs, then all of that is projected, and only then the rows: an end event is stored before its job is acknowledged, so it is in
 * the rows by now.
 */
export async function lookForStranded(options: ReconcileOptions, look: LookOptions): Promise<Look> {
  const { bus, store, whenProjected } = options;
  const floors = new Map<string, Map<string, number>>();
  const pending = new Map<string, Map<string, Pending>>();
  let leaseMs = options.leaseMs;
  for (const log of logs) {
    const byQueue = new Map<string, number>();
    const pendingByQueue = new Map<string, Pending>();
    for (const consumer of await bus.listConsumers(log)) {
      const queue = queueOfConsumer(consumer.name);
      if (queue === undefined) continue;
      // With nothing out, all that was delivered was acknowledged: the floor itself may lag.
      const { ackFloorSeq, deliveredSeq, ackPending } = consumer;
      byQueue.set(queue, ackPending === 0 ? Math.max(ackFloorSeq, deliveredSeq) : ackFloorSeq);
      if (ackPending > 0 && deliveredSeq > ackFloorSeq) pendingByQueue.set(queue, { deliveredSeq, ackPending });
      if (options.leaseMs === 0) leaseMs = Math.max(leaseMs, consumer.ackWaitMs);
    }
    floors.set(log, byQueue);
    pending.set(log, pendingByQueue);
  }
  const ends = new Map<string, number>();
  const firsts = new Map<string, number>();
  for (const log of [...logs, eventsStream]) {
    const { firstSeq, lastSeq } = await bus.streamState(log);
    ends.set(log, lastSeq);
    firsts.set(log, firstSeq);
  }
  await whenProjected(ends);
  const stranded: StrandedJob[] = [];
  const purged: PlacedJob[] = [];
  let looked = 0;
  for (const log of logs) {
    const first = firsts.get(log) ?? 0;
    const found = await store.listUnfinished(log, {
      atOrBelow: floors.get(log) ?? new Map(),
      below: first,
      limit: mostInOneLook,
    });
    looked += found.length;
    for (const job of found) {
      if (job.seq >= first) stranded.push({ job, why: "acknowledged without an end" });
      else if (look.belowFirst.has(log)) stranded.push({ job, why: "no longer in its log" });
      else purged.push(job);
    }
    for (const job of await findAckedAmong(options, log, pending.get(log) ?? new Map())) {
      if (job.seq >= first) stranded.push({ job, why: "acknowledged without an end" });
    }
    const compared = await comparePlaces(options, log, look.compared.get(log) ?? 0, first);
    look.compared.set(log, compared.upTo);
    looked += compared.looked;
    stranded.push(...compared.stranded);
  }
  return {
    stranded: [...new Map(stranded.map((one) => [one.job.id, one])).values()],
    looked,
    purged,
    leaseMs: leaseMs || usualLeaseMs,
  };
}

/**
 * Jobs above the floor of their consumer that were acknowledged, behind one that waits in a worker's hand: told by the count. When
 * workers have as many of them in hand as the consumer waits for, nobody waits for the others. What a worker gave back with a delay
 * makes the counts differ, and nothing is said then.
 */
async function findAckedAmong(
  { store, workers }: ReconcileOptions,
  log: string,
  pending: ReadonlyMap<string, Pending>,
): Promise<PlacedJob[]> {
  if (pending.size === 0) return [];
  const atOrBelow = new Map([...pending].map(([queue, { deliveredSeq }]) => [queue, deliveredSeq]));
  const jobs = await store.listUnfinished(log, { atOrBelow, limit: mostInOneLook });
  // Of more the count says nothing.
  if (jobs.length === mostInOneLook) return [];
  const held = await workers.holds(jobs.map(({ id }) => id));
  return [...Map.groupBy(jobs, ({ queue }) => queue)].flatMap(([queue, ofQueue]) => {
    const free = ofQueue.filter(({ id }) => !held.has(id));
    return ofQueue.length - free.length === pending.get(queue)?.ackPending ? free : [];
  });
}

/**
 * Publishes again what is stranded, if it is so still after a lease, and no worker has it. Each under a place version of its own, so
 * that what comes back of the former place is dropped.
 * @returns those that were published
 */
export async function repairStranded(
  options: ReconcileOptions,
  stranded: readonly StrandedJob[],
  leaseMs: number,
): Promise<StrandedJob[]> {
  const { store, workers, signal, logger, metrics } = options;
  if (stranded.length === 0) return [];
  await wait(leaseMs, signal);
  const repaired: StrandedJob[] = [];
  for (let from = 0; from < stranded.length && !signal.aborted; from += mostInOneLook) {
    const part = stranded.slice(from, from + mostInOneLook);
    const ids = part.map(({ job }) => job.id);
    const held = await workers.holds(ids);
    const now = new Map((await store.findStandings(ids)).map((standing) => [standing.id, standing]));
    for (const one of part) {
      const { job, why } = one;
      const standing = now.get(job.id);
      const isSame = standing?.version === job.version && standing.stream === job.stream && standing.seq === job.seq;
      if (held.has(job.id) || !isSame || isTerminal(standing.state)) continue;
      if (!(await publishAnew(options, job, `${job.id}:${attemptOfVersion(job.placeVersion)}:repair:${job.seq}`)))
        continue;
      repaired.push(one);
      metrics.repaired(why);
      logger.warn(
        { job: job.id, queue: job.queue, log: job.stream, seq: job.seq, why },
        "a stranded job is published again",
      );
    }
  }
  return repaired;
}

/**
 * Publishes a job again at the end of its log, with the next move of its attempt.
 * @returns false when its row does not hold what is needed, or has gone on
 */
export async function publishAnew(
  { bus, store, logger }: Pick<ReconcileOptions, "bus" | "store" | "logger">,
  job: PlacedJob,
  messageId: string | undefined,
): Promise<boolean> {
  const stored = await store.getJob(job.id);
  if (stored === undefined || stored.version !== job.version || isTerminal(stored.job.state)) return false;
  if (stored.isStub || stored.rawHeaders !== undefined) {
    logger.error({ job: job.id }, "a job cannot be published again: its row has no submission");
    return false;
  }
  const anew = {
    id: job.id,
    queue: job.queue,
    type: job.type,
    priority: job.priority,
    owner: stored.job.owner,
    run: runOfVersion(job.placeVersion),
    attempt: attemptOfVersion(job.placeVersion),
    move: moveOfVersion(job.placeVersion) + 1,
    maxAttempts: stored.job.maxAttempts,
    headers: stored.headers,
    replyTo: stored.replyTo,
    traceparent: stored.job.traceparent,
  };
  const { subject, headers } = jobAnew(anew, messageId);
  await bus.publishDurable(subject, stored.payload, headers);
  return true;
}

/** What lies at the places of unfinished jobs, a bounded number at each look, from the front of the log to its end and again. */
async function comparePlaces(
  { bus, store }: ReconcileOptions,
  log: string,
  afterSeq: number,
  firstSeq: number,
): Promise<{ stranded: StrandedJob[]; looked: number; upTo: number }> {
  const jobs = await store.listUnfinished(log, {
    above: -1,
    afterSeq: Math.max(afterSeq, firstSeq - 1),
    limit: mostInOneLook,
  });
  const stranded: StrandedJob[] = [];
  for (let from = 0; from < jobs.length; from += atOnce) {
    const part = jobs.slice(from, from + atOnce);
    const there = await Promise.all(part.map(({ stream, seq }) => bus.messageAt(stream, seq)));
    for (const [index, job] of part.entries()) {
      const message = there[index];
      if (message === undefined) stranded.push({ job, why: "no longer in its log" });
      else if (idOf(log, message) !== job.id) stranded.push({ job, why: "another message has its place" });
    }
  }
  // At the end: from the front again.
  return { stranded, looked: jobs.length, upTo: jobs.length < mostInOneLook ? 0 : (jobs.at(-1)?.seq ?? 0) };
}

function idOf(log: string, message: LoggedMessage): string {
  const { seq, timestampMs } = message;
  return jobIdOf(parseJobSubject(message.subject)?.id, (name) => message.header(name), {
    stream: log,
    seq,
    timestampMs,
  });
}
