import type { Delivery } from "@millrace/bus";
import {
  anewMessageId,
  defaultJobOptions,
  headerNames,
  isJobId,
  isJobType,
  isQueueName,
  jobIdOf,
  JobState,
  jobVersion,
  parseJobOptions,
  parseJobSubject,
  Priority,
} from "@millrace/protocol";
import type { JobPatch } from "@millrace/store";

/** A job that can never run: what is wrong with it, and where it lies. */
export interface Rejection {
  readonly patch: JobPatch;
  readonly reason: string;
  readonly headerBytes: Uint8Array;
  readonly stream: string;
  readonly seq: number;
  readonly run: number;
  readonly move: number;
}

export interface ReadJob {
  readonly patch: JobPatch;
  readonly run: number;
  readonly move: number;
  readonly rejection: Rejection | undefined;
}

/** A name from a bad subject is shown in its row up to here. */
export const maxShownName = 64;

// Headers that differ between the messages of one job, or say where one went: not what the publisher asked for.
// Max-Attempts stays, though a snooze raises it: the row keeps the first one.
const perMessage = new Set<string>([
  headerNames.id,
  headerNames.run,
  headerNames.move,
  headerNames.attempt,
  headerNames.runAt,
  headerNames.replyTo,
  headerNames.traceparent,
]);

// As Millrace's own publishers write a job that asks for nothing; in another order it is read as any other.
const plainBlock = /^NATS\/1\.0\r\n(?:Millrace-Id: ([^\r\n]+)\r\n)?(?:Nats-Msg-Id: ([^\r\n]+)\r\n)?\r\n$/;
const plainOptions = { ok: true, options: defaultJobOptions } as const;
const noHeaders: Readonly<Record<string, string>> = {};
const noFailures: JobPatch["failures"] = [];

/** What a message of a job log, or of SCHEDULE, says of its job. */
export function patchFromJob(message: Delivery, log: string, isScheduled: boolean): ReadJob {
  const values = readHeaders(message);
  const { seq, timestampMs: atMs } = message;

  const problems: string[] = [];
  const subject = parseJobSubject(message.subject);
  const tokens = subject === undefined ? message.subject.split(".") : [];
  if (subject === undefined) problems.push("the subject is not <priority>.<queue>.<type>[.<id>[.<owner>]]");
  const queue = subject?.queue ?? tokens[2] ?? "";
  const type = subject?.type ?? tokens[3] ?? "";
  if (!isQueueName(queue)) problems.push(`the queue ${quote(queue)} is not of 1 to 64 of a-z, 0-9, _ and -`);
  if (!isJobType(type)) problems.push(`the type ${quote(type)} is not of 1 to 64 of A-Z, a-z, 0-9, _ and -`);
  const named = subject?.id;
  if (named !== undefined && !isJobId(named))
    problems.push(`the id ${quote(named)} is not of 1 to 64 of A-Z, a-z, 0-9, _ and -`);
  const header = (name: string): string | undefined => values[name];
  const id = jobIdOf(isValid(named) ? named : undefined, header, { stream: log, seq, timestampMs: atMs });

  const plain = values[isPlain] === true;
  const parsed = plain ? plainOptions : parseJobOptions(header);
  const options = parsed.ok ? parsed.options : defaultJobOptions;
  if (!parsed.ok) problems.push(...parsed.problems.map(({ field, reason }) => `${field} ${reason}`));
  const format = plain ? "" : (values[headerNames.format] ?? "");

  const { run, attempt, move } = options;
  // A released job, too, is of the first attempt: what Millrace publishes anew has a message id of its own.
  const isAnew = values[headerNames.messageId] === anewMessageId({ id, run, attempt, move });
  const isFirst = attempt === 1 && move === 0 && (!isAnew || run > 1);
  const state = isScheduled ? JobState.SCHEDULED : JobState.QUEUED;
  const version = jobVersion({ run, attempt, move, state });
  const patch: JobPatch = {
    id,
    queue: queue.slice(0, maxShownName),
    type: type.slice(0, maxShownName),
    priority: subject?.level ?? Priority.UNSPECIFIED,
    version: format === "" ? version : jobVersion({ run, attempt, move, state }, true),
    state,
    attempt,
    worker: "",
    startedAtMs: 0,
    finishedAtMs: 0,
    runUs: 0,
    result: undefined,
    resultContentType: "",
    // No worker of this version runs it either: it waits for one that knows how.
    waitReason: format === "" ? "" : `its format ${quote(format)} is not known here`,
    updatedAtMs: atMs,
    // Without a time to run at it is due at once.
    dueAtMs: isScheduled ? options.runAtMs || atMs : 0,
    eventSeq: 0,
    eventIndex: 0,
    submission: {
      payload: message.data,
      contentType: options.contentType,
      headers: plain ? noHeaders : submittedHeaders(values),
      tags: options.tags,
      correlationId: options.correlationId,
      uniqueKey: options.uniqueKey,
      ...(options.replyTo === "" ? {} : { replyTo: options.replyTo }),
      ...(subject?.owner === undefined ? {} : { owner: subject.owner }),
    },
    place: { stream: log, seq, version },
    ofMessage: true,
    first: isFirst ? { run, stream: log, seq } : undefined,
    traceparent: options.traceparent,
    submittedAtMs: atMs,
    maxAttempts: options.maxAttempts,
    runAtMs: options.runAtMs,
    failures: noFailures,
    cancelRequestedAtMs: 0,
  };
  if (problems.length === 0) return { patch, run, move, rejection: undefined };
  // Nobody is to publish it.
  patch.dueAtMs = 0;
  const rejection = {
    patch,
    reason: problems.join("; "),
    headerBytes: message.headerBytes,
    stream: log,
    seq,
    run,
    move,
  };
  return { patch, run, move, rejection };
}

const isPlain = Symbol("plain");

interface HeaderValues {
  /** Nothing but ids: nobody asked for anything. */
  readonly [isPlain]?: true;
  [name: string]: string | undefined;
}

const nothing: HeaderValues = { [isPlain]: true };

/** The first value of each. Most jobs have none of their own: of those, only the ids. */
function readHeaders(message: Delivery): HeaderValues {
  const { headerBytes } = message;
  if (headerBytes.length === 0) return nothing;
  const { buffer, byteOffset, length } = headerBytes;
  // ASCII, or else it is not plain and is decoded as it should be.
  const plain = plainBlock.exec(Buffer.from(buffer, byteOffset, length).toString("latin1"));
  if (plain !== null) return { [isPlain]: true, [headerNames.id]: plain[1], [headerNames.messageId]: plain[2] };
  const values: HeaderValues = {};
  for (const [name, value] of message.headers()) values[name] ??= value;
  return values;
}

function submittedHeaders(values: HeaderValues): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const name in values) {
    if (!perMessage.has(name) && !name.startsWith("Nats-")) headers[name] = values[name] ?? "";
  }
  return headers;
}

function isValid(id: string | undefined): boolean {
  return id !== undefined && isJobId(id);
}

function quote(name: string): string {
  return JSON.stringify(name.length > maxShownName ? `${name.slice(0, maxShownName)}…` : name);
}
