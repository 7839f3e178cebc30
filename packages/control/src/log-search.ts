import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Bus, LoggedMessage } from "@millrace/bus";
import {
  jobStream,
  JobSchema,
  JobState,
  parseJobOptions,
  parseJobSubject,
  priorityNames,
  scheduleStream,
  scheduleSubject,
  jobSubject,
  type Job,
} from "@millrace/protocol";

/** A search goes through the subjects of whole logs: more at one time would slow the broker down. */
const mostSearches = 4;

/** Looks for a job by its id alone, in the subjects of all logs: for when no row can tell. */
export class LogSearch {
  readonly #bus: Bus;
  #running = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** @returns undefined when no subject has the id, which says nothing of ids in headers, or when too many look already */
  async find(id: string): Promise<{ readonly job: Job; readonly run: number } | undefined> {
    if (this.#running >= mostSearches) return undefined;
    this.#running++;
    try {
      for (const [stream, subject] of subjectsOf(id)) {
        const message = await this.#bus.lastMessage(stream, subject);
        const job = message === undefined ? undefined : jobOf(id, stream, message);
        if (job !== undefined) return job;
      }
      return undefined;
    } finally {
      this.#running--;
    }
  }
}

/** Of jobs of nobody, and of users. */
function subjectsOf(id: string): [stream: string, subject: string][] {
  const jobs = priorityNames.map((priority) => [jobStream(priority), jobSubject(priority, "*", "*", id)] as const);
  const delayed = priorityNames.map((priority) => [scheduleStream, scheduleSubject(priority, "*", "*", id)] as const);
  return [...jobs, ...delayed].flatMap(([stream, subject]) => [
    [stream, subject],
    [stream, `${subject}.*`],
  ]);
}

function jobOf(id: string, stream: string, message: LoggedMessage): { job: Job; run: number } | undefined {
  const subject = parseJobSubject(message.subject);
  const parsed = parseJobOptions((name) => message.header(name));
  if (subject === undefined || !parsed.ok) return undefined;
  const { run, attempt, maxAttempts, correlationId, uniqueKey, traceparent } = parsed.options;
  const job = create(JobSchema, {
    id,
    queue: subject.queue,
    type: subject.type,
    priority: subject.level,
    state: stream === scheduleStream ? JobState.SCHEDULED : JobState.QUEUED,
    run,
    attempt,
    maxAttempts,
    correlationId,
    uniqueKey,
    traceparent,
    owner: subject.owner ?? "",
    submittedAt: timestampFromMs(message.timestampMs),
  });
  return { job, run };
}
