import type { Delivery } from "@millrace/bus";
import {
  defaultJobOptions,
  deriveJobId,
  headerNames,
  isJobId,
  isJobType,
  isQueueName,
  jobSubject,
  parseJobOptions,
  parseJobSubject,
} from "@millrace/protocol";
import type { Schedule } from "@millrace/store";

/** A scheduled job that can never run: what is wrong, and what a dead letter needs to keep. */
export interface RefusedSchedule {
  readonly id: string;
  readonly attempt: number;
  readonly queue: string;
  readonly type: string;
  readonly priority: number;
  readonly reason: string;
}

export type ReadSchedule =
  | { readonly ok: true; readonly schedule: Schedule }
  | { readonly ok: false; readonly refused: RefusedSchedule };

/**
 * What a message on `schedule.<priority>.<queue>.<type>.<id>` asks for. Without a time to run at it is due at once.
 * @param streamCreatedMs when SCHEDULE was made; an id that is none is replaced by the one derived from the message's place
 */
export function scheduleFromMessage(message: Delivery, streamCreatedMs: number): ReadSchedule {
  const headers: Record<string, string[]> = {};
  for (const [name, value] of message.headers()) (headers[name] ??= []).push(value);
  const parsed = parseJobOptions((name) => headers[name]?.[0]);
  const options = parsed.ok ? parsed.options : defaultJobOptions;
  const subject = parseJobSubject(message.subject);
  const derivedId = deriveJobId(message.stream, streamCreatedMs, message.seq);
  const problems = parsed.ok ? [] : parsed.problems.map(({ field, reason }) => `${field} ${reason}`);
  if (subject === undefined) problems.push("the subject is not <priority>.<queue>.<type>.<id>");
  else {
    if (!isQueueName(subject.queue)) problems.push("the queue's name has another form");
    if (!isJobType(subject.type)) problems.push("the type's name has another form");
    if (subject.id !== undefined && !isJobId(subject.id)) problems.push("the id has another form");
  }
  const id = subject?.id !== undefined && isJobId(subject.id) ? subject.id : derivedId;
  if (subject === undefined || problems.length > 0) {
    const [, , queue = "", type = ""] = message.subject.split(".");
    return {
      ok: false,
      refused: {
        id,
        attempt: options.attempt,
        queue: subject?.queue ?? queue,
        type: subject?.type ?? type,
        priority: subject?.level ?? 0,
        reason: problems.join("; "),
      },
    };
  }
  // The time was kept here and is over when the job leaves: a worker must not send it back.
  delete headers[headerNames.runAt];
  delete headers[headerNames.messageId];
  return {
    ok: true,
    schedule: {
      id,
      attempt: options.attempt,
      dueAtMs: options.runAtMs || message.timestampMs,
      subject: jobSubject(subject.priority, subject.queue, subject.type, id),
      payload: message.data,
      headers,
    },
  };
}
