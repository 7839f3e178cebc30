import { isOwner } from "./names.ts";
import { isPriorityName, priorityLevel, type PriorityLevel, type PriorityName } from "./priority.ts";

/** First tokens of the subjects that Millrace owns. */
export const subjectRoots = {
  jobs: "jobs",
  schedule: "schedule",
  submitted: "events.submitted",
  batch: "events.batch",
  rpc: "rpc",
  gatewayRpc: "rpc.gateway",
  command: "cmd",
  platformEvents: "events.app",
  pluginStats: "stats.plugin",
  pluginLogs: "logs.plugin",
} as const;

/** Broadcast to every worker; the data is a JSON WorkerCommand. */
export const commandAllSubject = "cmd.all";
/** Broadcast to every worker; the data is the id of a job to cancel. */
export const commandCancelSubject = "cmd.cancel";

/** Request-reply to one worker; the data is a JSON WorkerCommand. */
export function commandSubject(workerId: string): string {
  return `cmd.worker.${workerId}`;
}

/** Request-reply to the projector: a RowsQuestion in JSON, answered by a RowsAnswer when its logs are read that far. */
export const rowsSubject = "ask.rows";
/** Request-reply to the projector: a RepairQuestion in JSON, answered by a RepairAnswer. */
export const repairSubject = "ask.repair";

/** Where the projector announces what came in by a log: an EventBatch of SUBMITTED or SCHEDULED events. */
export function announcementSubject(log: string): string {
  return `${subjectRoots.submitted}.${log}`;
}

/** Where `source` publishes its EventBatch messages. */
export function eventBatchSubject(source: string): string {
  return `${subjectRoots.batch}.${source}`;
}

/** `rpc.<service>.<Method>`, for example `rpc.millrace.jobs.v1.JobService.GetJob`. */
export function rpcSubject(service: string, method: string): string {
  return `${subjectRoots.rpc}.${service}.${method}`;
}

/**
 * The same method for gateways: `rpc.gateway.millrace.jobs.v1.JobService.GetJob`. Only they may publish under it, so only there
 * a call is believed to come from the caller that it names.
 */
export function gatewayRpcSubject(service: string, method: string): string {
  return `${subjectRoots.gatewayRpc}.${service}.${method}`;
}

/** Request-reply to one of the workers that run plugins: an InvokePluginRequest, answered by an InvokePluginResponse. */
export const invokeSubject = "invoke.plugin";

/** Where a PlatformEvent is stored: `events.app.user.login`. */
export function platformEventSubject(name: string): string {
  return `${subjectRoots.platformEvents}.${name}`;
}

/** Where workers publish PluginStats. */
export function pluginStatsSubject(name: string): string {
  return `${subjectRoots.pluginStats}.${name}`;
}

/** Where workers publish PluginLogBatch. */
export function pluginLogSubject(name: string): string {
  return `${subjectRoots.pluginLogs}.${name}`;
}

export interface JobSubject {
  readonly priority: PriorityName;
  readonly level: PriorityLevel;
  readonly queue: string;
  readonly type: string;
  /** Absent when the publisher left it out, or put it into a header: see jobIdOf. */
  readonly id: string | undefined;
  /** Id of the user who submitted it; see withOwner. */
  readonly owner: string | undefined;
}

/** Stands for the id in a subject whose job has it in the header `Millrace-Id`: an owner may follow. */
export const idInHeader = "-";

export function jobSubject(priority: PriorityName, queue: string, type: string, id?: string): string {
  return id === undefined ? `jobs.${priority}.${queue}.${type}` : `jobs.${priority}.${queue}.${type}.${id}`;
}

/** The subject that carries the same job to the scheduler. @param id or `idInHeader` */
export function scheduleSubject(priority: PriorityName, queue: string, type: string, id: string): string {
  return `schedule.${priority}.${queue}.${type}.${id}`;
}

/**
 * The subject of a job whose id travels in the header `Millrace-Id`: all jobs of one type share it, as each subject costs the
 * broker memory and a fifth of its speed.
 */
export function sharedJobSubject(priority: PriorityName, queue: string, type: string, owner: string): string {
  return owner === ""
    ? jobSubject(priority, queue, type)
    : withOwner(jobSubject(priority, queue, type, idInHeader), owner);
}

/** As sharedJobSubject, for a job that waits for its time. */
export function sharedScheduleSubject(priority: PriorityName, queue: string, type: string, owner: string): string {
  return withOwner(scheduleSubject(priority, queue, type, idInHeader), owner);
}

/**
 * The subject of a job, its id included, that belongs to a user. Not a header, which every publisher could write: the broker
 * lets nobody but control publish on a subject of this length.
 */
export function withOwner(subject: string, owner: string): string {
  return owner === "" ? subject : `${subject}.${owner}`;
}

/** The id and the owner in what follows a job's type, `<id>[.<owner>]`; all of it is the id where it has another shape. */
export function splitOwner(rest: string): { readonly id: string; readonly owner: string } {
  const dot = rest.indexOf(".");
  const owner = dot < 0 ? "" : rest.slice(dot + 1);
  return isOwner(owner) ? { id: rest.slice(0, dot), owner } : { id: rest, owner: "" };
}

/**
 * Splits `<root>.<priority>.<queue>.<type>[.<id>[.<owner>]]` where root is `jobs` or `schedule`. Names but the owner's are not
 * checked against their syntax.
 * @returns undefined when the subject has another shape
 */
export function parseJobSubject(subject: string): JobSubject | undefined {
  const parts = subject.split(".");
  if (parts.length < 4 || parts.length > 6) return undefined;
  const [, priority, queue, type, id, owner] = parts;
  if (owner !== undefined && !isOwner(owner)) return undefined;
  if (priority === undefined || queue === undefined || type === undefined || !isPriorityName(priority))
    return undefined;
  return { priority, level: priorityLevel(priority), queue, type, id: id === idInHeader ? undefined : id, owner };
}
