import { jobVersion, Priority, type JobState } from "@millrace/protocol";
import type { JobPatch } from "../job-patch.ts";

/** A patch as one event makes it; what is not given is plain. */
export function testPatch(
  id: string,
  state: JobState,
  { run = 1, move = 0, ...more }: Partial<JobPatch> & { run?: number; move?: number } = {},
): JobPatch {
  const attempt = more.attempt ?? 1;
  return {
    id,
    queue: "default",
    type: "echo",
    priority: Priority.NORMAL,
    version: jobVersion({ run, attempt, move, state }),
    state,
    attempt,
    worker: "",
    startedAtMs: 0,
    finishedAtMs: 0,
    runUs: 0,
    result: undefined,
    resultContentType: "",
    waitReason: "",
    updatedAtMs: 1_700_000_000_000,
    dueAtMs: 0,
    eventSeq: 1,
    eventIndex: 0,
    submission: undefined,
    place: undefined,
    ofMessage: false,
    traceparent: "",
    submittedAtMs: 1_700_000_000_000,
    maxAttempts: 0,
    runAtMs: 0,
    failures: [],
    cancelRequestedAtMs: 0,
    ...more,
  };
}

/** What a publisher sends with a job. */
export function testSubmission(text = '{"a":1}'): NonNullable<JobPatch["submission"]> {
  return {
    payload: new TextEncoder().encode(text),
    contentType: "application/json",
    headers: { "X-Test": "yes" },
    tags: ["red", "green"],
    correlationId: "c1",
    uniqueKey: "",
  };
}
