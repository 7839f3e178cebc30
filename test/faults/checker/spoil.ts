import { JobState } from "@millrace/protocol";
import type { Evidence, Execution, HeardEvent, JobRow, Problem } from "./evidence.ts";
import { casesOf, endsOf, type JobCase } from "./jobs-of.ts";

/** One promise broken in what a run has left behind, and how the judge has to name it. */
export interface Spoil {
  readonly what: string;
  readonly rule: Problem["rule"];
  readonly text: RegExp;
  /** Whether it is about the job itself, whose number the problem then has. */
  readonly ofJob: boolean;
  spoil(evidence: Evidence, job: JobCase): Evidence;
}

/** A job in which everything can be spoiled: it ran once and well, by NATS, with tags and a correlation id. */
export function jobToSpoil(evidence: Evidence): JobCase {
  const found = casesOf(evidence).cases.find(({ submission: { plan, sends }, rows, executions, stored }) => {
    const plain = plan.door === "nats" && plan.type === "quick" && plan.delayMs === 0 && plan.deadlineMs === 0;
    const rich = plan.tags.length > 0 && plan.correlationId !== "" && Object.keys(plan.headers).length > 0;
    const once = sends.length === 1 && executions.length === 2 && endsOf(stored).length === 1;
    return plain && rich && once && plan.cancelAfterMs < 0 && rows[0]?.state === JobState.SUCCEEDED;
  });
  if (found === undefined) throw new Error("no plain job in this run");
  return found;
}

function row(what: string, text: RegExp, change: (row: JobRow) => Partial<JobRow>): Spoil {
  const spoil = (evidence: Evidence, job: JobCase): Evidence => ({
    ...evidence,
    rows: evidence.rows.map((row) => (row.id === job.rows[0]?.id ? { ...row, ...change(row) } : row)),
  });
  return { what, rule: "row", text, ofJob: true, spoil };
}

function other(
  what: string,
  rule: Problem["rule"],
  text: RegExp,
  change: (evidence: Evidence, job: JobCase) => Partial<Evidence>,
): Spoil {
  const ofJob = rule !== "counters" && rule !== "broker";
  return { what, rule, text, ofJob, spoil: (evidence, job) => ({ ...evidence, ...change(evidence, job) }) };
}

/** An event of the job's like its end, but for this. */
function endOf(job: JobCase, change: Partial<HeardEvent>): HeardEvent {
  const [end] = endsOf(job.stored);
  if (end === undefined) throw new Error("the job has no end");
  return { ...end, ...change };
}

/** A run of the job's like its first, but for this. */
function runOf(job: JobCase, change: Partial<Execution>): Execution {
  const [run] = job.executions;
  if (run === undefined) throw new Error("the job never ran");
  return { ...run, ...change };
}

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const last = copy.length - 1;
  copy[last] = (copy[last] ?? 0) ^ 1;
  return copy;
}

/** Every promise that the checker looks at, broken once. */
export const spoils: readonly Spoil[] = [
  row("one bit of the payload", /payload of \d+ bytes is/, ({ payload }) => ({ payload: flipped(payload) })),
  row("a tag", /tags is/, ({ tags }) => ({ tags: tags.slice(1) })),
  row("a header's value", /header X-Client is/, ({ headers }) => ({ headers: { ...headers, "X-Client": "another" } })),
  row("a header too many", /other headers is/, ({ headers }) => ({ headers: { ...headers, "X-Foreign": "1" } })),
  row("the correlation id", /correlation id is/, () => ({ correlationId: "" })),
  row("the owner", /owner is/, () => ({ owner: "somebody" })),
  row("the queue", /queue is/, () => ({ queue: "elsewhere" })),
  row("the type", /type is/, () => ({ type: "slow" })),
  row("the priority", /priority is/, ({ priority }) => ({ priority: (priority % 4) + 1 })),
  row("the sequence of its place", /sequence is/, ({ streamSeq }) => ({ streamSeq: streamSeq + 1 })),
  row("the stream of its place", /stream is/, () => ({ stream: "JOBS_ELSEWHERE" })),
  row("the number of attempts", /max attempts is/, () => ({ maxAttempts: 99 })),
  row("the result", /result is/, ({ result }) => ({ result: flipped(result) })),
  row("an error of an attempt that succeeded", /carries an error/, ({ attempt }) => ({
    errors: [{ attempt, code: "DEADLINE_EXCEEDED", message: "late" }],
  })),
  row("the end", /handler does not always fail/, () => ({ state: JobState.DEAD })),
  row("no end", /has not ended: queued/, () => ({ state: JobState.QUEUED })),
  row("a cancellation that nobody asked for", /nobody asked/, () => ({ state: JobState.CANCELLED })),
  other("a row that is gone", "lost", /there is no row/, ({ rows }, job) => ({
    rows: rows.filter(({ id }) => id !== job.rows[0]?.id),
  })),
  other("a row twice", "row", /a second row/, ({ rows }, job) => ({
    rows: [...rows, ...job.rows.map((row) => ({ ...row, id: `${row.id}-again` }))],
  })),
  other("another end, told to the watcher", "events", /several ends/, ({ watched }, job) => ({
    watched: [...watched, endOf(job, { kind: "dead" })],
  })),
  other("another end, first in EVENTS", "events", /first end in EVENTS is cancelled/, ({ stored }, job) => ({
    stored: [endOf(job, { kind: "cancelled" }), ...stored],
  })),
  other("no end in EVENTS", "events", /EVENTS has no end/, ({ stored }, job) => ({
    stored: stored.filter(({ jobId }) => jobId !== job.rows[0]?.id),
  })),
  other("an end that the watcher missed", "events", /heard no end/, ({ watched }, job) => ({
    watched: watched.filter(({ jobId, kind }) => jobId !== job.rows[0]?.id || kind === "submitted"),
  })),
  other("a submission that the watcher missed", "events", /never heard of its submission/, ({ watched }, job) => ({
    watched: watched.filter(({ jobId, kind }) => jobId !== job.rows[0]?.id || kind !== "submitted"),
  })),
  other("a retry out of order", "events", /was retried after attempt 2/, ({ watched, faults }, job) => ({
    faults: faults.slice(0, 0),
    watched: [
      endOf(job, { kind: "started", attempt: 2 }),
      endOf(job, { kind: "retried", attempt: 1 }),
      ...watched.filter(({ jobId }) => jobId !== undefined),
    ],
  })),
  other("a second run without a fault", "executions", /ran again 5000 ms/, ({ executions, faults }, job) => ({
    faults: faults.slice(0, 0),
    executions: [...executions, runOf(job, { atMs: (job.executions[0]?.atMs ?? 0) + 5000 })],
  })),
  other("a run with another payload", "executions", /ran with the payload/, ({ executions }, job) => ({
    executions: [...executions, runOf(job, { sha: "0123456789abcdef" })],
  })),
  other("a run of something else", "executions", /payload that nobody has sent/, ({ executions }, job) => ({
    executions: [...executions, runOf(job, { n: -1, sha: "0123456789abcdef" })],
  })),
  other("a success that never ran", "executions", /no handler ended that well/, ({ executions }, job) => ({
    executions: executions.filter(({ n }) => n !== job.n),
  })),
  other("a counter", "counters", /counts \d+ succeeded, and has/, ({ queueCounts }) => ({
    queueCounts: queueCounts.map((queue) => ({
      ...queue,
      counts: { ...queue.counts, succeeded: (queue.counts["succeeded"] ?? 0) + 1 },
    })),
  })),
  other("an owner's counter", "counters", /owner somebody counts 1/, () => ({
    ownerCounts: [{ owner: "somebody", jobs: 1, bytes: 10 }],
  })),
  other("work that the broker keeps", "broker", /still has 1 to deliver/, () => ({
    backlogs: [{ stream: "JOBS_HIGH", consumer: "w_alpha", pending: 1, ackPending: 0 }],
  })),
];
