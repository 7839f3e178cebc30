import { JobState, stateName } from "@millrace/protocol";
import type { HeardEvent, JobRow } from "./evidence.ts";
import type { FaultLog } from "./fault-log.ts";
import { endsOf, type JobCase } from "./jobs-of.ts";
import { endKinds } from "./watch-observer.ts";

/** What is wrong with what was told of the last run of a job: by EVENTS itself, and to the watcher. */
export function judgeEvents(job: JobCase, row: JobRow, storedWhole: boolean, log: FaultLog): string[] {
  const wrong: string[] = [];
  const end = stateName(row.state);
  const ofRun = ({ run }: HeardEvent): boolean => run === row.run;
  if (storedWhole && endKinds.has(end)) {
    const [first] = endsOf(job.stored.filter(ofRun));
    if (first === undefined) wrong.push(`${end}, and EVENTS has no end of it`);
    else if (first.kind !== end) wrong.push(`${end}, and its first end in EVENTS is ${first.kind}`);
  }
  const heard = withoutDoubles(job.watched.filter(ofRun));
  const ends = new Set(endsOf(heard).map(({ kind }) => kind));
  if (ends.size > 1) wrong.push(`the watcher heard several ends: ${[...ends].join(", ")}`);
  else if (ends.size > 0 && !ends.has(end)) wrong.push(`${end}, and the watcher heard ${[...ends].join(", ")}`);
  if (ends.size === 0) wrong.push("the watcher heard no end");
  if (!job.watched.some(isArrival)) wrong.push("the watcher never heard of its submission");
  wrong.push(...judgeOrder(heard, row, log));
  for (const { run } of job.watched)
    if (run > row.run) wrong.push(`the watcher heard of run ${run}, and the row is of run ${row.run}`);
  return wrong;
}

/** That it has come in by a log: the announcement runs beside the events of workers, and may be told before or after. */
const isArrival = ({ kind }: HeardEvent): boolean => kind === "submitted" || kind === "scheduled";

/** Readers drop what they have heard. */
function withoutDoubles(events: readonly HeardEvent[]): HeardEvent[] {
  const known = new Set<string>();
  return events.filter(({ attempt, kind }) => {
    const key = `${attempt}:${kind}`;
    return !known.has(key) && known.add(key) !== undefined;
  });
}

/** Attempts follow each other, and nothing new comes after the end. */
function judgeOrder(heard: readonly HeardEvent[], row: JobRow, log: FaultLog): string[] {
  const wrong: string[] = [];
  const endAt = heard.findIndex(({ kind }) => endKinds.has(kind));
  const end = heard[endAt];
  if (end === undefined) return wrong;
  const cancelled = row.state === JobState.CANCELLED;
  if (!cancelled && end.attempt !== row.attempt)
    wrong.push(`the row is of attempt ${row.attempt}, and the watcher heard the end of ${end.attempt}`);
  for (const [index, { kind, attempt, atMs }] of heard.entries()) {
    if (kind === "retried") {
      // That it failed is stored before the next attempt is; an attempt that is run again tells it once more.
      const next = heard.findIndex((event) => event.attempt > attempt && !isArrival(event));
      if (next >= 0 && next < index && !log.mayRepeat(atMs - 60_000, atMs))
        wrong.push(`attempt ${attempt} was retried after attempt ${heard[next]?.attempt} was heard of`);
    }
    // An attempt that is run again after a crash may be told of again.
    if ((kind === "started" || kind === "retried") && index > endAt && !log.mayRepeat(end.atMs - 5000, atMs))
      wrong.push(`${kind} of attempt ${attempt} was heard after the end`);
  }
  if (cancelled) return wrong;
  for (let attempt = 2; attempt <= end.attempt; attempt++) {
    if (!heard.some((event) => event.kind === "retried" && event.attempt === attempt - 1))
      wrong.push(`attempt ${attempt} came without "retried" of the one before`);
  }
  return wrong;
}
