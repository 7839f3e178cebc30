import type { Bus } from "@millrace/bus";
import {
  formatJobOptions,
  headerNames,
  isJobId,
  isJobType,
  isOwnJobId,
  isOwnQueue,
  isPriorityName,
  isQueueName,
  jobSubject,
  newJobId,
  ownIdPrefix,
  parseBackoff,
  parseJobOptions,
  scheduleSubject,
  sharedJobSubject,
  sharedScheduleSubject,
  type BackoffPolicy,
} from "@millrace/protocol";
import type { HostCaller } from "./host-caller.ts";
import { badRequest, denied, exceeded } from "./host-failure.ts";

const mostPayloadBytes = 512 << 10;
const known: ReadonlySet<string> = new Set(
  "type queue priority id maxAttempts timeoutMs backoff runAtMs delayMs deadlineMs tags contentType".split(" "),
);

/**
 * Stores a job of a plugin's. It takes over the correlation id (or the job's own) and the trace of the call.
 * @param request `type`, and optionally `queue`, `priority`, `id`, `maxAttempts`, `timeoutMs`, `backoff`, `runAtMs` or `delayMs`,
 * `deadlineMs`, `tags`, `contentType`
 * @throws HostFailure; BusError when it cannot be stored
 */
export async function submitPluginJob(
  bus: Bus,
  caller: HostCaller,
  request: Readonly<Record<string, unknown>>,
  payload: Uint8Array,
): Promise<string> {
  const unknown = Object.keys(request).filter((name) => !known.has(name));
  if (unknown.length > 0) throw badRequest(`jobs: there is no option ${unknown.join(", ")}`);
  const { type, queue = "default", priority = "normal", id } = request;
  if (typeof type !== "string" || !isJobType(type)) throw badRequest("jobs: type is missing, or no job type");
  const { jobs } = caller.granted;
  if (!jobs.includes(type) && !jobs.includes("*")) {
    throw denied(`jobs: type ${type} is not granted; declare it under capabilities.jobs, and grant jobs`);
  }
  if (typeof queue !== "string" || !isQueueName(queue)) throw badRequest("jobs: queue is no name of a queue");
  if (isOwnQueue(queue)) throw denied(`jobs: queue ${queue} is Millrace's own`);
  if (typeof priority !== "string" || !isPriorityName(priority)) throw badRequest("jobs: priority is no priority");
  if (id !== undefined && (typeof id !== "string" || !isJobId(id))) throw badRequest("jobs: id is no job id");
  if (id !== undefined && isOwnJobId(id)) throw denied(`jobs: ids that begin with ${ownIdPrefix} are Millrace's own`);
  if (payload.length > mostPayloadBytes) {
    const breach = { resource: "jobs", figure: payload.length, limit: mostPayloadBytes, unit: "bytes" } as const;
    throw exceeded(breach, { fatal: false });
  }
  const nowMs = bus.clock.nowMs();
  const runAtMs =
    numberOf(request, "runAtMs") || (numberOf(request, "delayMs") && nowMs + numberOf(request, "delayMs"));
  const isLater = runAtMs > nowMs;
  const headers = formatJobOptions({
    ...(request["maxAttempts"] === undefined ? {} : { maxAttempts: numberOf(request, "maxAttempts") }),
    timeoutMs: numberOf(request, "timeoutMs"),
    ...(request["backoff"] === undefined ? {} : { backoff: backoffOf(request["backoff"]) }),
    runAtMs: isLater ? runAtMs : 0,
    deadlineMs: numberOf(request, "deadlineMs"),
    tags: tagsOf(request["tags"]),
    contentType: typeof request["contentType"] === "string" ? request["contentType"] : "",
    correlationId: caller.correlationId === "" ? caller.jobId : caller.correlationId,
    traceparent: caller.traceparent,
  });
  // What the worker that takes the job would refuse is refused here.
  const checked = parseJobOptions((name) => headers.find(([header]) => header === name)?.[1]);
  if (!checked.ok)
    throw badRequest(`jobs: ${checked.problems.map(({ field, reason }) => `${field} ${reason}`).join("; ")}`);
  const jobId = id ?? newJobId(nowMs);
  // An id that we made goes without a subject of its own, which would cost the broker memory.
  const own: [string, string][] = id === undefined ? [[headerNames.id, jobId]] : [];
  const subject =
    id === undefined
      ? (isLater ? sharedScheduleSubject : sharedJobSubject)(priority, queue, type, "")
      : (isLater ? scheduleSubject : jobSubject)(priority, queue, type, id);
  await bus.publishDurable(subject, payload, [...headers, ...own, [headerNames.messageId, jobId]]);
  return jobId;
}

function numberOf(request: Readonly<Record<string, unknown>>, name: string): number {
  const value = request[name] ?? 0;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0)
    throw badRequest(`jobs: ${name} is no number from 0`);
  return Math.round(value);
}

function backoffOf(value: unknown): BackoffPolicy {
  const backoff = typeof value === "string" ? parseBackoff(value) : undefined;
  if (backoff === undefined)
    throw badRequest("jobs: backoff is exponential, linear or fixed, then ;base=MS;max=MS;jitter=0..1");
  return backoff;
}

function tagsOf(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((tag) => typeof tag === "string"))
    throw badRequest("jobs: tags is no list of texts");
  return value;
}
