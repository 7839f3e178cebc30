import { isTerminal, runOfVersion, supersedes } from "@millrace/protocol";
import { maxFailures, type JobFailure, type JobPatch } from "@millrace/store";

/** A job is known by its id, and by queue and type too where somebody used the id again. */
export function isSameJob(a: JobPatch, b: JobPatch): boolean {
  return a.queue === b.queue && a.type === b.type;
}

/**
 * Takes `next` into `into`, two patches of one job, by the rules that the table applies to a row: so that a run of events
 * may be written as one patch, and nobody can tell.
 */
export function mergePatch(into: JobPatch, next: JobPatch): void {
  // What is told of a run after its end says nothing.
  const isOver = isTerminal(into.state) && runOfVersion(next.version) <= runOfVersion(into.version);
  if (supersedes(next, into)) {
    into.version = next.version;
    into.state = next.state;
    into.attempt = next.attempt;
    into.worker = next.worker;
    into.startedAtMs = next.startedAtMs;
    into.finishedAtMs = next.finishedAtMs;
    into.runUs = next.runUs;
    into.result = next.result;
    into.resultContentType = next.resultContentType;
    into.waitReason = next.waitReason;
    if (next.plugin === undefined) {
      delete into.plugin;
      delete into.fuel;
    } else {
      into.plugin = next.plugin;
      into.fuel = next.fuel ?? 0;
    }
    into.updatedAtMs = next.updatedAtMs;
    into.dueAtMs = next.dueAtMs;
    into.ofMessage = next.ofMessage;
    into.eventSeq = next.eventSeq;
    into.eventIndex = next.eventIndex;
  }
  if (into.submission === undefined) into.submission = next.submission;
  else if (into.submission.rawHeaders === undefined && next.submission?.rawHeaders !== undefined) {
    into.submission = { ...into.submission, rawHeaders: next.submission.rawHeaders };
  }
  if (next.place !== undefined && next.place.version > (into.place?.version ?? -1)) into.place = next.place;
  if (next.first !== undefined && next.first.run > (into.first?.run ?? 0)) into.first = next.first;
  if (into.traceparent === "") into.traceparent = next.traceparent;
  if (next.submittedAtMs < into.submittedAtMs) into.submittedAtMs = next.submittedAtMs;
  if (next.maxAttempts > into.maxAttempts) into.maxAttempts = next.maxAttempts;
  if (next.runAtMs > into.runAtMs) into.runAtMs = next.runAtMs;
  if (next.failures.length > 0 && !isOver) into.failures = mergeFailures(into.failures, next.failures);
  if (
    next.cancelRequestedAtMs > 0 &&
    !(into.cancelRequestedAtMs > 0 && into.cancelRequestedAtMs <= next.cancelRequestedAtMs)
  ) {
    into.cancelRequestedAtMs = next.cancelRequestedAtMs;
  }
}

function mergeFailures(known: readonly JobFailure[], added: readonly JobFailure[]): readonly JobFailure[] {
  if (known.length === 0) return added;
  const told = new Set(known.map(keyOf));
  return [...known, ...added.filter((failure) => !told.has(keyOf(failure)))]
    .sort((a, b) => keyOf(a) - keyOf(b))
    .slice(-maxFailures);
}

function keyOf({ run = 1, attempt }: JobFailure): number {
  return run * 2 ** 20 + attempt;
}
