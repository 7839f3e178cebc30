import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  defaultMaxAttempts,
  JobSchema,
  JobState,
  priorityOrNormal,
  type Job,
  type SubmitJobRequest,
} from "@millrace/protocol";

/** A message in a stream. */
interface JobPlace {
  readonly stream: string;
  readonly seq: number;
}

interface RecentJob {
  readonly request: SubmitJobRequest;
  readonly owner: string;
  readonly acceptedMs: number;
  readonly runAtMs: number;
  readonly bytes: number;
  readonly place: JobPlace;
}

/** Jobs that this process accepted a moment ago, for readers who ask before the projection has a row. */
export class RecentJobs {
  readonly #jobs = new Map<string, RecentJob>();
  readonly #mostJobs: number;
  readonly #mostBytes: number;
  #bytes = 0;

  constructor(mostJobs: number, mostBytes: number) {
    this.#mostJobs = mostJobs;
    this.#mostBytes = mostBytes;
  }

  add(id: string, job: Omit<RecentJob, "acceptedMs">): void {
    this.remove(id);
    this.#jobs.set(id, { ...job, acceptedMs: Date.now() });
    this.#bytes += job.bytes;
    for (const oldest of this.#jobs.keys()) {
      if (this.#jobs.size <= this.#mostJobs && this.#bytes <= this.#mostBytes) break;
      this.remove(oldest);
    }
  }

  /** Once its row was seen, the row is what counts. */
  remove(id: string): void {
    const job = this.#jobs.get(id);
    if (job === undefined) return;
    this.#jobs.delete(id);
    this.#bytes -= job.bytes;
  }

  /** Where the stream keeps it. */
  placeOf(id: string): JobPlace | undefined {
    return this.#jobs.get(id)?.place;
  }

  /** The job as it was accepted. */
  get(id: string): Job | undefined {
    const recent = this.#jobs.get(id);
    if (recent === undefined) return undefined;
    const { request, owner, acceptedMs, runAtMs } = recent;
    const at = timestampFromMs(acceptedMs);
    return create(JobSchema, {
      id,
      queue: request.queue === "" ? "default" : request.queue,
      type: request.type,
      priority: priorityOrNormal(request.priority),
      state: runAtMs === 0 ? JobState.QUEUED : JobState.SCHEDULED,
      run: 1,
      attempt: 1,
      maxAttempts: request.maxAttempts || defaultMaxAttempts,
      ...(request.payload === undefined ? {} : { payload: request.payload }),
      tags: request.tags,
      correlationId: request.correlationId,
      uniqueKey: request.uniqueKey,
      owner,
      submittedAt: at,
      updatedAt: at,
      ...(runAtMs === 0 ? {} : { runAt: timestampFromMs(runAtMs) }),
    });
  }
}
