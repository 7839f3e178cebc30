import type { JobState } from "@millrace/protocol";
import type { JobPlan } from "./job-plan.ts";

/** All times are Unix ms of one machine. */

/** What became of one try to submit: `uncertain` when it may be stored and nobody has said so. */
export type SendOutcome = "accepted" | "refused" | "uncertain";

/** One try to submit a job. */
export interface Send {
  /** 0: the job as planned; 1: the one that comes later under the same id. */
  readonly edition: 0 | 1;
  readonly atMs: number;
  readonly doneMs: number;
  readonly outcome: SendOutcome;
  /** As the answer names it, or as it was chosen. */
  readonly id?: string;
  /** Where the broker stored it; by NATS only. */
  readonly stream?: string;
  readonly seq?: number;
  readonly duplicate?: boolean;
  /** The status and code of an answer, or the error. */
  readonly detail: string;
}

/** One call to cancel a job, or to run it again. */
export interface SteerCall {
  readonly atMs: number;
  readonly doneMs: number;
  /** HTTP status; 0 without an answer. */
  readonly status: number;
  /** The state that the answer names, or the error's code. */
  readonly detail: string;
}

/** Everything that clients did with one job. */
export interface Submission {
  readonly plan: JobPlan;
  /** When its client took it up: its times are counted from here. */
  readonly bornMs: number;
  readonly sends: Send[];
  readonly cancels: SteerCall[];
  readonly replays: SteerCall[];
}

/** A line of the handlers' file. */
export interface Execution {
  readonly kind: "begin" | "end";
  readonly atMs: number;
  readonly pid: number;
  readonly id: string;
  /** The job's number, read from the payload; -1 where it has none. */
  readonly n: number;
  /** From 1. */
  readonly run: number;
  readonly attempt: number;
  readonly sha: string;
  readonly queue: string;
  readonly type: string;
  readonly priority: string;
  readonly tags: readonly string[];
  readonly correlationId: string;
  /** Of `end`. */
  readonly ok?: boolean;
}

export interface JobRowError {
  /** The first when left out. */
  readonly run?: number;
  readonly attempt: number;
  readonly code: string;
  readonly message: string;
}

/** A row of the read model, whole. */
export interface JobRow {
  readonly id: string;
  readonly queue: string;
  readonly type: string;
  readonly priority: number;
  readonly state: JobState;
  readonly attempt: number;
  readonly maxAttempts: number | undefined;
  readonly payload: Buffer;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly correlationId: string;
  readonly uniqueKey: string;
  readonly owner: string;
  readonly traceparent: string;
  readonly submittedMs: number;
  readonly runAtMs: number;
  readonly finishedMs: number;
  readonly stream: string;
  readonly streamSeq: number;
  readonly result: Buffer;
  readonly errors: readonly JobRowError[];
  /** From 1; a replay begins the next. */
  readonly run: number;
  /** How often this attempt was published anew. */
  readonly moves: number;
  /** Messages that came later under the same id; a place is `<stream>/<sequence>`. */
  readonly duplicates: readonly { readonly place: string; readonly mayHaveRun: boolean }[];
}

/** Something that was told of a job, by EVENTS itself or by a watcher. */
export interface HeardEvent {
  readonly jobId: string;
  /** As `eventName` of the protocol says it. */
  readonly kind: string;
  /** From 1. */
  readonly run: number;
  readonly attempt: number;
  readonly atMs: number;
  /** Where in EVENTS, or the watcher's position. */
  readonly position: string;
}

/** One thing that was done to the system. */
export interface Fault {
  readonly kind: string;
  readonly target: string;
  readonly startMs: number;
  /** When whatever was taken away was there again. */
  readonly endMs: number;
}

export interface QueueCounts {
  readonly queue: string;
  /** By the state's name; what is 0 is left out. */
  readonly counts: Readonly<Record<string, number>>;
}

/** Work that the broker still holds for a queue after everything has ended. */
export interface ConsumerBacklog {
  readonly stream: string;
  readonly consumer: string;
  readonly pending: number;
  readonly ackPending: number;
}

/** What a run leaves behind, and all that the judge looks at. */
export interface Evidence {
  /** Ids of the users by their names; what NATS brings has no owner. */
  readonly owners: Readonly<Record<string, string>>;
  readonly submissions: readonly Submission[];
  readonly executions: readonly Execution[];
  readonly rows: readonly JobRow[];
  /** EVENTS as it is stored. */
  readonly stored: readonly HeardEvent[];
  /** False when EVENTS had lost its beginning before it was read. */
  readonly storedWhole: boolean;
  /** What one watcher of all jobs heard, from before the first job on. */
  readonly watched: readonly HeardEvent[];
  readonly faults: readonly Fault[];
  readonly queueCounts: readonly QueueCounts[];
  /** Unfinished jobs and their bytes by owner, as the system counts them; only what is not zero. */
  readonly ownerCounts: readonly { readonly owner: string; readonly jobs: number; readonly bytes: number }[];
  readonly backlogs: readonly ConsumerBacklog[];
  /** What went wrong without being about one job: a service that ended by itself, a watcher that heard nothing. */
  readonly incidents: readonly string[];
  /** Answers that nobody should have got: how often, by `<call> <status> <code>`. */
  readonly answers: Readonly<Record<string, number>>;
}

/** One thing that is wrong. */
export interface Problem {
  readonly rule: string;
  /** The job's number; undefined when it is about none. */
  readonly n?: number;
  readonly id?: string;
  readonly text: string;
}
