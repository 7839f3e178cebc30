import type { JobState, Priority } from "@millrace/protocol";
import type { JobFailure } from "./schema.ts";

/** What the publisher sent; absent in events that do not carry it. A row takes it once and keeps it. */
export interface JobSubmission {
  readonly payload: Uint8Array;
  readonly contentType: string;
  /** By header name; without what differs from one attempt to the next. */
  readonly headers: Readonly<Record<string, string>>;
  readonly tags: readonly string[];
  readonly correlationId: string;
  readonly uniqueKey: string;
  /** Id of the user who submitted it. */
  readonly owner?: string;
  /** Where the worker sends the result. */
  readonly replyTo?: string;
  /** Headers as they came, of a job that could not be read. */
  readonly rawHeaders?: string;
}

/** Where a message of the job lies in its log. */
export interface JobPlace {
  readonly stream: string;
  readonly seq: number;
  /** The version that this message brings the job to: the greatest is where the job is. */
  readonly version: number;
}

export interface FirstPlace {
  readonly run: number;
  readonly stream: string;
  readonly seq: number;
}

/** A message that names a job which came in before by another one. */
export interface DoubleMessage {
  readonly id: string;
  readonly stream: string;
  readonly seq: number;
  /** When the stream stored it, Unix ms. */
  readonly atMs: number;
}

/**
 * What one or several events of one job, coalesced, change in its row. The fields of the state (from `state` to
 * `eventIndex`) are taken together, iff the patch supersedes the row (see supersedes of the protocol); all others are merged so that the order of
 * arrival does not matter: the earliest `submittedAtMs`, the greatest `maxAttempts`, `runAtMs` and `place`, the union
 * of `failures`, and the first of what a publisher says once. Times are Unix ms; 0 stands for none.
 */
export interface JobPatch {
  readonly id: string;
  readonly queue: string;
  readonly type: string;
  priority: Priority;

  /** From jobVersion; -1 for a patch that only annotates. */
  version: number;
  state: JobState;
  attempt: number;
  worker: string;
  startedAtMs: number;
  finishedAtMs: number;
  runUs: number;
  result: Uint8Array | undefined;
  resultContentType: string;
  waitReason: string;
  /** name@version of the plugin that ran the attempt; none for a native handler. */
  plugin?: string;
  /** That the attempt used; with `plugin`. */
  fuel?: number;
  updatedAtMs: number;
  /** When the scheduler is to publish it; 0: it does not wait for its time. */
  dueAtMs: number;
  /** Of the event in EVENTS; 0 for what came by another log. */
  eventSeq: number;
  eventIndex: number;

  submission: JobSubmission | undefined;
  place: JobPlace | undefined;
  /** The state is told of the message at `place`. Else it is told of the job, whichever message that is. */
  ofMessage: boolean;
  /** Where the run came in: by a message that was not published anew by Millrace. */
  first?: FirstPlace | undefined;
  traceparent: string;
  submittedAtMs: number;
  /** 0: not known. */
  maxAttempts: number;
  runAtMs: number;
  failures: readonly JobFailure[];
  cancelRequestedAtMs: number;
}

/** Most failures that a row keeps: the newest. */
export const maxFailures = 20;
