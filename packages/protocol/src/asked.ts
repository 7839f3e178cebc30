import type { JobState } from "./gen/millrace/jobs/v1/job_pb.ts";

/** What the projector is asked on `rowsSubject`. */
export interface RowsQuestion {
  /** At most 1,000. */
  readonly ids: readonly string[];
  /** Answer once the rows hold each named log up to this sequence; left out: EVENTS as it is when the question comes. */
  readonly after?: Readonly<Record<string, number>>;
  /** How long the projector may wait for that, ms. */
  readonly waitMs: number;
}

/** A row, as far as somebody decides by it whether a message still counts. */
export interface RowStanding {
  readonly id: string;
  readonly state: JobState;
  /** See jobVersion. */
  readonly version: number;
  /** Of the newest message of the job that is known; -1 when none is. */
  readonly placeVersion: number;
  readonly stream: string;
  readonly seq: number;
}

export interface RowsAnswer {
  /** False: the rows are not there yet, or the database is away; `rows` is empty then. */
  readonly ready: boolean;
  /** Those of the ids that have a row. */
  readonly rows: readonly RowStanding[];
}

/** What the projector is asked on `repairSubject`. */
export interface RepairQuestion {
  /** Only tell what would be done. */
  readonly dryRun: boolean;
}

export interface RepairAnswer {
  readonly ok: boolean;
  /** Why nothing was done, or what stands in the way of repairs that run by themselves; empty when nothing does. */
  readonly reason: string;
  /** Unfinished jobs that were looked at. */
  readonly looked: number;
  /** Jobs that nobody would deliver any more: published again, or to be when it was a dry run. The first 1,000. */
  readonly jobs: readonly {
    readonly id: string;
    readonly stream: string;
    readonly seq: number;
    readonly why: string;
  }[];
  readonly repaired: number;
}

/** What a worker says of itself in the bucket `workers`, under its id. */
export interface WorkerRecord {
  readonly queues: readonly string[];
  /** Values of `Millrace-Format` that it reads, beside jobs without one. */
  readonly formats: readonly string[];
  readonly startedMs: number;
}

/** A worker's answer to the command `holds`: those of the ids that it has in hand, from pull to ack. */
export interface HoldsAnswer {
  readonly holds: readonly string[];
}

const decoder = new TextDecoder();

/** JSON of one of these, from a process of our own. @throws SyntaxError when it is no JSON object */
export function decodeJson<T extends object>(data: Uint8Array): Partial<T> {
  const value: unknown = JSON.parse(decoder.decode(data));
  if (typeof value !== "object" || value === null) throw new SyntaxError("not a JSON object");
  return value as Partial<T>;
}
