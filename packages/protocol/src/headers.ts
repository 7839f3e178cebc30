import { defaultBackoff, formatBackoff, parseBackoff, type BackoffPolicy } from "./backoff.ts";

/** Headers of a job on the wire. All are optional. */
export const headerNames = {
  /** The job's id, where the subject has none. Written by Millrace for ids that it made. */
  id: "Millrace-Id",
  /** Which run of the job, from 1; a replay of an ended job begins the next. Written by Millrace. */
  run: "Millrace-Run",
  /** How often this attempt was published anew, from 0: by a repair, or because it may not run yet. Written by Millrace. */
  move: "Millrace-Move",
  /** How the payload is to be read; absent: it is the handler's input. Who does not know a format leaves the message alone. */
  format: "Millrace-Format",
  /** Which attempt this message is for, from 1. Written by Millrace on a retry. */
  attempt: "Millrace-Attempt",
  /** 1..100, default 5. */
  maxAttempts: "Millrace-Max-Attempts",
  /** Bound on one attempt in ms, 1..86400000. */
  timeoutMs: "Millrace-Timeout-Ms",
  /** `exponential;base=1000;max=60000;jitter=0.2`, or `linear`, `fixed`. */
  backoff: "Millrace-Backoff",
  /** Not before: Unix ms, or RFC 3339. */
  runAt: "Millrace-Run-At",
  /** Expires when not started by then: Unix ms, or RFC 3339. */
  deadline: "Millrace-Deadline",
  uniqueKey: "Millrace-Unique-Key",
  /** Up to 20, comma separated. */
  tags: "Millrace-Tags",
  correlationId: "Millrace-Correlation-Id",
  /** Subject on which the worker publishes the JobResult. */
  replyTo: "Millrace-Reply-To",
  /** Media type of the payload. */
  contentType: "Millrace-Content-Type",
  /** On a rejected request-reply answer: the error code. */
  error: "Millrace-Error",
  traceparent: "traceparent",
  /** JetStream's duplicate window goes by it. */
  messageId: "Nats-Msg-Id",
  /** On a message that was got from its stream by a direct get. */
  stream: "Nats-Stream",
} as const;

/** What the headers of a job say, decoded and defaulted. */
export interface JobOptions {
  readonly run: number;
  readonly attempt: number;
  readonly move: number;
  readonly maxAttempts: number;
  /** 0: the handler's own limit. */
  readonly timeoutMs: number;
  readonly backoff: BackoffPolicy;
  /** Unix ms; 0: at once. */
  readonly runAtMs: number;
  /** Unix ms; 0: none. */
  readonly deadlineMs: number;
  readonly uniqueKey: string;
  readonly tags: readonly string[];
  readonly correlationId: string;
  readonly replyTo: string;
  readonly contentType: string;
  readonly traceparent: string;
}

export const defaultMaxAttempts = 5;
/** The most that a version has room for; see jobVersion. */
export const maxRun = 4095;
export const maxAttempt = 1_000_000;
export const maxMove = 65_535;
export const maxTags = 20;

/** What a job without headers asks for. */
export const defaultJobOptions: JobOptions = {
  run: 1,
  attempt: 1,
  move: 0,
  maxAttempts: defaultMaxAttempts,
  timeoutMs: 0,
  backoff: defaultBackoff,
  runAtMs: 0,
  deadlineMs: 0,
  uniqueKey: "",
  tags: [],
  correlationId: "",
  replyTo: "",
  contentType: "",
  traceparent: "",
};

/** One header that does not parse: its name, and what would be right. */
export interface HeaderProblem {
  readonly field: string;
  readonly reason: string;
}

export type ParsedJobOptions =
  | { readonly ok: true; readonly options: JobOptions }
  | { readonly ok: false; readonly problems: readonly HeaderProblem[] };

const tagPattern = /^[A-Za-z0-9_.:/=-]{1,64}$/;
const tracePattern = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
// Subjects a reply may not go to: a job must not be able to publish into the system's own subjects.
const forbiddenReply = /^(\$|jobs\.|schedule\.|events\.|cmd\.|rpc\.|ask\.)|[\s*>]|^$/;

function wholeNumber(text: string, least: number, most: number): number | undefined {
  if (!/^[0-9]{1,15}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= least && value <= most ? value : undefined;
}

// What google.protobuf.Timestamp can say: one job beyond it could not be listed, and no other with it.
const firstInstant = Date.parse("0001-01-01T00:00:00Z");
const lastInstant = Date.parse("9999-12-31T23:59:59.999Z");

function instant(text: string): number | undefined {
  const digits = /^[0-9]{1,15}$/.test(text);
  if (!digits && !/^\d{4}-\d\d-\d\dT/.test(text)) return undefined;
  const value = digits ? Number(text) : Date.parse(text);
  return value >= firstInstant && value <= lastInstant ? value : undefined;
}

/**
 * Decodes a job's headers. All problems are reported at once.
 * @param get a header's value by its exact name, or undefined
 */
export function parseJobOptions(get: (name: string) => string | undefined): ParsedJobOptions {
  const problems: HeaderProblem[] = [];
  function read<T>(name: string, fallback: T, decode: (text: string) => T | undefined, form: string): T {
    const text = get(name);
    if (text === undefined || text === "") return fallback;
    const value = decode(text);
    if (value !== undefined) return value;
    problems.push({ field: name, reason: `must be ${form}` });
    return fallback;
  }
  const printable = (most: number) => (text: string) =>
    text.length <= most && /^[\x20-\x7e]*$/.test(text) ? text : undefined;
  const options: JobOptions = {
    run: read(headerNames.run, 1, (t) => wholeNumber(t, 1, maxRun), `a whole number from 1 to ${maxRun}`),
    attempt: read(headerNames.attempt, 1, (t) => wholeNumber(t, 1, maxAttempt), "a whole number from 1"),
    move: read(headerNames.move, 0, (t) => wholeNumber(t, 0, maxMove), `a whole number from 0 to ${maxMove}`),
    maxAttempts: read(
      headerNames.maxAttempts,
      defaultMaxAttempts,
      // A replay raises it past what a submitter may ask for.
      (t) => wholeNumber(t, 1, maxAttempt),
      "a whole number from 1",
    ),
    timeoutMs: read(headerNames.timeoutMs, 0, (t) => wholeNumber(t, 0, 86_400_000), "milliseconds from 0 to 86400000"),
    backoff: read(
      headerNames.backoff,
      defaultBackoff,
      parseBackoff,
      "exponential, linear or fixed, then ;base=MS;max=MS;jitter=0..1",
    ),
    runAtMs: read(headerNames.runAt, 0, instant, "Unix milliseconds or RFC 3339, up to the year 9999"),
    deadlineMs: read(headerNames.deadline, 0, instant, "Unix milliseconds or RFC 3339, up to the year 9999"),
    uniqueKey: read(headerNames.uniqueKey, "", printable(256), "at most 256 printable ASCII characters"),
    tags: read(
      headerNames.tags,
      [] as readonly string[],
      (t) => {
        const tags = t.split(",").map((tag) => tag.trim());
        return tags.length <= maxTags && tags.every((tag) => tagPattern.test(tag)) ? tags : undefined;
      },
      `at most ${maxTags} tags of letters, digits and _.:/=-, comma separated`,
    ),
    correlationId: read(headerNames.correlationId, "", printable(256), "at most 256 printable ASCII characters"),
    replyTo: read(
      headerNames.replyTo,
      "",
      (t) => (t.length <= 256 && !forbiddenReply.test(t) ? t : undefined),
      "a subject outside Millrace's own, without wildcards",
    ),
    contentType: read(headerNames.contentType, "", printable(256), "a media type"),
    // A trace that does not parse is dropped, as W3C Trace Context asks; it never fails a job.
    traceparent: tracePattern.exec(get(headerNames.traceparent) ?? "")?.[0] ?? "",
  };
  return problems.length === 0 ? { ok: true, options } : { ok: false, problems };
}

/** Headers that say `options`; what has its default is left out. */
export function formatJobOptions(options: Partial<JobOptions>): [name: string, value: string][] {
  const out: [string, string][] = [];
  const put = (name: string, value: string | number | undefined, fallback: string | number) => {
    if (value !== undefined && value !== fallback) out.push([name, String(value)]);
  };
  put(headerNames.run, options.run, 1);
  put(headerNames.attempt, options.attempt, 1);
  put(headerNames.move, options.move, 0);
  put(headerNames.maxAttempts, options.maxAttempts, defaultMaxAttempts);
  put(headerNames.timeoutMs, options.timeoutMs, 0);
  const backoff = options.backoff;
  if (backoff !== undefined && backoff !== defaultBackoff) {
    out.push([headerNames.backoff, formatBackoff(backoff)]);
  }
  put(headerNames.runAt, options.runAtMs, 0);
  put(headerNames.deadline, options.deadlineMs, 0);
  put(headerNames.uniqueKey, options.uniqueKey, "");
  if (options.tags !== undefined && options.tags.length > 0) out.push([headerNames.tags, options.tags.join(",")]);
  put(headerNames.correlationId, options.correlationId, "");
  put(headerNames.replyTo, options.replyTo, "");
  put(headerNames.contentType, options.contentType, "");
  put(headerNames.traceparent, options.traceparent, "");
  return out;
}
