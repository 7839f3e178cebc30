import type { Delivery } from "@millrace/bus";
import {
  defaultJobOptions,
  deriveJobId,
  headerNames,
  isJobId,
  isJobType,
  isQueueName,
  JobState,
  parseJobOptions,
  parseJobSubject,
  Priority,
  subjectRoots,
} from "@millrace/protocol";
import { jobVersion, type JobPatch } from "@millrace/store";

/** A job that can never run: what is wrong with it, and where it lies. */
export interface Rejection {
  readonly patch: JobPatch;
  readonly reason: string;
  readonly headerBytes: Uint8Array;
  readonly stream: string;
  readonly seq: number;
}

export interface ReadCopy {
  readonly patch: JobPatch;
  readonly rejection: Rejection | undefined;
}

/** A name from a bad subject is shown in its row up to here. */
export const maxShownName = 64;

// Headers that differ between the attempts of one job, or say where one message went: not what the publisher asked for.
// Max-Attempts stays, though a replay raises it: the row keeps the first one, which the next replay counts from.
const perMessage = new Set<string>([
  headerNames.attempt,
  headerNames.runAt,
  headerNames.replyTo,
  headerNames.traceparent,
]);

const isPlain = Symbol("plain");
// As the broker writes them, in this order; a Nats-Msg-Id of the publisher's stands before them.
const plainBlock =
  /^NATS\/1\.0\r\n(?:Nats-Msg-Id: [^\r\n]*\r\n)?Nats-Stream: (\w+)\r\nNats-Subject: [^\r\n]*\r\nNats-Sequence: (\d+)\r\nNats-Last-Sequence: \d+\r\n\r\n$/;
const plainOptions = { ok: true, options: defaultJobOptions } as const;
const noHeaders: Readonly<Record<string, string>> = {};
const noFailures: JobPatch["failures"] = [];

/**
 * What a republished job message (`events.submitted.>`, `events.scheduled.>`) says of its job.
 * @param streamCreatedMs when the named job stream was made; undefined when there is no such stream
 * @returns undefined when the message is no copy that a stream made
 */
export function patchFromCopy(
  message: Delivery,
  streamCreatedMs: (stream: string) => number | undefined,
): ReadCopy | undefined {
  const values = readHeaders(message);
  const stream = values[headerNames.stream] ?? "";
  const seq = Number(values[headerNames.sequence]);
  const createdMs = streamCreatedMs(stream);
  if (createdMs === undefined || !Number.isSafeInteger(seq)) return undefined;

  const problems: string[] = [];
  const subject = parseJobSubject(message.subject);
  const tokens = subject === undefined ? message.subject.split(".").slice(2) : [];
  if (subject === undefined) problems.push("the subject is not <priority>.<queue>.<type>[.<id>[.<owner>]]");
  const queue = subject?.queue ?? tokens[1] ?? "";
  const type = subject?.type ?? tokens[2] ?? "";
  if (!isQueueName(queue)) problems.push(`the queue ${quote(queue)} is not of 1 to 64 of a-z, 0-9, _ and -`);
  if (!isJobType(type)) problems.push(`the type ${quote(type)} is not of 1 to 64 of A-Z, a-z, 0-9, _ and -`);
  const given = subject?.id;
  if (given !== undefined && !isJobId(given))
    problems.push(`the id ${quote(given)} is not of 1 to 64 of A-Z, a-z, 0-9, _ and -`);
  const id = given !== undefined && isJobId(given) ? given : deriveJobId(stream, createdMs, seq);

  const plain = values[isPlain] === true;
  const parsed = plain ? plainOptions : parseJobOptions((name) => values[name]);
  const options = parsed.ok ? parsed.options : defaultJobOptions;
  if (!parsed.ok) problems.push(...parsed.problems.map(({ field, reason }) => `${field} ${reason}`));

  const scheduled = message.subject.startsWith(`${subjectRoots.scheduled}.`);
  const state = scheduled ? JobState.SCHEDULED : JobState.QUEUED;
  const version = jobVersion(options.attempt, state);
  const atMs = message.timestampMs;
  const headers = plain ? noHeaders : submittedHeaders(values);
  const patch: JobPatch = {
    id,
    queue: queue.slice(0, maxShownName),
    type: type.slice(0, maxShownName),
    priority: subject?.level ?? Priority.UNSPECIFIED,
    version,
    state,
    attempt: options.attempt,
    worker: "",
    startedAtMs: 0,
    finishedAtMs: 0,
    runUs: 0,
    result: undefined,
    resultContentType: "",
    waitReason: "",
    updatedAtMs: atMs,
    eventSeq: message.seq,
    eventIndex: 0,
    submission: {
      payload: message.data,
      contentType: options.contentType,
      headers,
      tags: options.tags,
      correlationId: options.correlationId,
      uniqueKey: options.uniqueKey,
      ...(subject?.owner === undefined ? {} : { owner: subject.owner }),
    },
    place: { stream, seq, version },
    traceparent: options.traceparent,
    submittedAtMs: atMs,
    maxAttempts: options.maxAttempts,
    runAtMs: options.runAtMs,
    failures: noFailures,
    cancelRequestedAtMs: 0,
  };
  if (problems.length === 0) return { patch, rejection: undefined };
  const { headerBytes } = message;
  return { patch, rejection: { patch, reason: problems.join("; "), headerBytes, stream, seq } };
}

interface HeaderValues {
  /** Nothing but what the broker itself adds: nobody asked for anything. */
  readonly [isPlain]?: true;
  [name: string]: string | undefined;
}

/** The first value of each. Most jobs have none of their own: of those, only the two that say where the copy is from. */
function readHeaders(message: Delivery): HeaderValues {
  const { buffer, byteOffset, length } = message.headerBytes;
  // ASCII, or else it is not plain and is decoded as it should be.
  const block = Buffer.from(buffer, byteOffset, length).toString("latin1");
  const copied = plainBlock.exec(block);
  if (copied !== null) return { [isPlain]: true, [headerNames.stream]: copied[1], [headerNames.sequence]: copied[2] };
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

function quote(name: string): string {
  return JSON.stringify(name.length > maxShownName ? `${name.slice(0, maxShownName)}…` : name);
}
