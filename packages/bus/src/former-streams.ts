import { jobLogs, scheduleStream, subjectRoots } from "@millrace/protocol";
import { BusError } from "./bus-error.ts";
import { encodeHeaders } from "./encode-headers.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import type { JsonObject } from "./json.ts";
import { pause } from "./pause.ts";
import { publishError } from "./publish-ack.ts";

/** Jobs on their way from a stream of the former version to its log. */
export const upgradeRoot = "upgrade";
/** Of another process that replaces an empty stream at this moment. */
const replacementMs = 10_000;
const pollMs = 100;
const publishTimeoutMs = 5_000;
export const expectedSequence = "Nats-Expected-Last-Sequence";

/** Where the jobs of a former stream are, while it becomes a log. */
export function copyOf(log: string): string {
  return `UPGRADE_${log}`;
}

/** Of a former stream that takes no jobs any more: here a process says that it replaces it. */
export function lockSubject(log: string): string {
  return `${upgradeRoot}.former.${log}`;
}

/**
 * All that a former stream takes which takes no jobs any more. It republishes `jobs.>` or `schedule.>`, and old brokers (2.9) neither
 * let go of that nor take a stream without a subject that it concerns: the second is one, and no job's, and nobody uses it.
 */
function fencedSubjects(log: string): string[] {
  const root = log === scheduleStream ? subjectRoots.schedule : subjectRoots.jobs;
  return [lockSubject(log), `${root}.former.${log}`];
}

/** A work queue, as streams of jobs were before they became logs. What a stream retains, and how, cannot be changed. */
export function isFormer(config: JsonObject): boolean {
  return config.string("retention") === "workqueue";
}

export function isFenced(log: string, config: JsonObject): boolean {
  return config.strings("subjects").toSorted().join() === fencedSubjects(log).toSorted().join();
}

/** Nobody can publish a job into it any more. What it holds stays, and what it republishes, as no job comes. */
export async function fence(api: JetStreamApi, log: string, config: JsonObject): Promise<void> {
  await api.requestPatiently(`STREAM.UPDATE.${log}`, { ...config.raw(), subjects: fencedSubjects(log) });
}

/** @throws BusError failed_precondition when jobs wait in streams of the former version, or are on their way into a log */
export async function refuseFormerJobs(api: JetStreamApi): Promise<void> {
  const infos = await Promise.all(
    jobLogs.map(async (log) => ({
      log,
      found: await api.find(`STREAM.INFO.${log}`),
      copy: await api.find(`STREAM.INFO.${copyOf(log)}`),
    })),
  );
  const reasons = infos.flatMap(({ log, found, copy }) => {
    if (copy !== undefined) return [`the upgrade of ${log} has not ended`];
    if (found === undefined || !isFormer(found.object("config")) || isEmpty(log, found)) return [];
    return [`${log} is of a former version, and holds ${found.object("state").number("messages")} jobs`];
  });
  if (reasons.length > 0) throw toBeUpgraded(reasons.join("; "));
}

/**
 * For who works on logs that another user makes.
 * @throws BusError failed_precondition when one of them is a stream of the former version, even an empty one
 */
export async function requireLogs(api: JetStreamApi, logs: readonly string[]): Promise<void> {
  const infos = await Promise.all(logs.map((log) => api.find(`STREAM.INFO.${log}`)));
  const former = logs.filter((_, index) => {
    const info = infos[index];
    return info !== undefined && isFormer(info.object("config"));
  });
  if (former.length > 0) throw toBeUpgraded(`${former.join(", ")}: of a former version`);
}

/**
 * Removes a former stream that holds no job, so that a log can take its place. Many processes may do this at the same time: the
 * one whose message is the next in the stream deletes it, the others wait.
 * @throws BusError failed_precondition when there are jobs in it
 */
export async function retireFormer(api: JetStreamApi, log: string): Promise<void> {
  const found = await api.find(`STREAM.INFO.${log}`);
  if (found === undefined || !isFormer(found.object("config"))) return;
  if (!isEmpty(log, found)) throw toBeUpgraded(`${log} is of a former version, and holds jobs`);
  const state = found.object("state");
  if (state.number("messages") === 0) {
    const config = found.object("config");
    try {
      if (!isFenced(log, config)) await fence(api, log, config);
      const wonAtMs = performance.now();
      // Refused when anything came since, a job or another's lock.
      if (await lock(api, log, state.number("last_seq"))) {
        // A process that slept meanwhile must not delete what another has made.
        if (performance.now() - wonAtMs < replacementMs / 2) await api.request(`STREAM.DELETE.${log}`, undefined);
        return;
      }
    } catch (error) {
      // Another was faster: there is no such stream any more, or a log of its name.
      const again = await api.find(`STREAM.INFO.${log}`);
      if (again !== undefined && isFormer(again.object("config"))) throw error;
      return;
    }
  }
  for (const deadline = performance.now() + replacementMs; performance.now() < deadline; await pause(pollMs)) {
    const info = await api.find(`STREAM.INFO.${log}`);
    if (info === undefined || !isFormer(info.object("config"))) return;
    if (!isEmpty(log, info)) throw toBeUpgraded(`${log} is of a former version, and holds jobs`);
  }
  throw toBeUpgraded(`${log} is of a former version, and who was to replace it has not`);
}

/** But for the lock of one that is to replace it. */
function isEmpty(log: string, info: JsonObject): boolean {
  return info.object("state").number("messages") <= (isFenced(log, info.object("config")) ? 1 : 0);
}

async function lock(api: JetStreamApi, log: string, lastSeq: number): Promise<boolean> {
  const subject = lockSubject(log);
  const headers = encodeHeaders([[expectedSequence, String(lastSeq)]]);
  const answer = await api.mux.request(subject, new Uint8Array(0), { timeoutMs: publishTimeoutMs, headers });
  const error = publishError(subject, answer.data);
  if (error !== undefined && error.code !== "aborted") throw error;
  return error === undefined;
}

function toBeUpgraded(reason: string): BusError {
  return new BusError(
    "failed_precondition",
    `${reason}: stop everything of the former version, then run \`millrace upgrade streams\``,
  );
}
