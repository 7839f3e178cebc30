import { JobState, stateName } from "@millrace/protocol";
import type { HeardEvent, JobRow } from "./evidence.ts";
import { endKinds } from "./watch-observer.ts";
import type { FaultLog } from "./fault-log.ts";
import { endsOf, type JobCase } from "./jobs-of.ts";

/** What is wrong with what was told of a job: by EVENTS itself, and to the watcher. */
export function judgeEvents(job: JobCase, row: JobRow, storedWhole: boolean, log: FaultLog): string[] {
  const wrong: string[] = [];
  const end = stateName(row.state);
  // How one that ran again ended before is past.
  const replayed = job.submission.replays.some(({ status }) => status === 200 || status === 0 || status >= 500);
  if (storedWhole && endKinds.has(end)) {
    const [first] = endsOf(job.stored);
    if (first === undefined) wrong.push(`${end}, and EVENTS has no end of it`);
    else if (first.kind !== end && !replayed) wrong.push(`${end}, and its first end in EVENTS is ${first.kind}`);
  }
  const heard = withoutDoubles(job.watched);
  const ends = new Set(endsOf(heard).map(({ kind }) => kind));
  if (ends.size > 1 && !replayed) wrong.push(`the watcher heard several ends: ${[...ends].join(", ")}`);
  else if (ends.size > 0 && !ends.has(end)) wrong.push(`${end}, and the watcher heard ${[...ends].join(", ")}`);
  if (ends.size === 0) wrong.push("the watcher heard no end");
  if (!heard.some(isArrival)) wrong.push("the watcher never heard of its submission");
  wrong.push(...judgeOrder(heard, row, replayed, log));
  return wrong;
}

const isArrival = ({ kind }: HeardEvent): boolean => kind === "submitted" || kind === "scheduled";

/** Readers drop what they have heard. */
function withoutDoubles(events: readonly HeardEvent[]): HeardEvent[] {
  const known = new Set<string>();
  return events.filter(({ attempt, kind }) => {
    const key = `${attempt}:${kind}`;
    return !known.has(key) && known.add(key) !== undefined;
  });
}

/** Attempts follow each other, each begins before it ends, and nothing new comes after the end. */
function judgeOrder(heard: readonly HeardEvent[], row: JobRow, replayed: boolean, log: FaultLog): string[] {
  const wrong: string[] = [];
  const place = (kind: string, attempt: number): number =>
    heard.findIndex((event) => event.kind === kind && event.attempt === attempt);
  const endAt = heard.findIndex(({ kind }) => endKinds.has(kind));
  const end = heard[endAt];
  if (end === undefined) return wrong;
  if (!replayed && row.state !== JobState.CANCELLED && end.attempt !== row.attempt)
    wrong.push(`the row is of attempt ${row.attempt}, and the watcher heard the end of ${end.attempt}`);
  for (const [index, { kind, attempt, atMs }] of heard.entries()) {
    if (kind === "retried") {
      // The next attempt is stored before it is said that this one failed: what is lost between is told again.
      const next = heard.findIndex((event) => event.attempt > attempt && !isArrival(event));
      if (next >= 0 && next < index && !log.mayRepeat(atMs - 60_000, atMs))
        wrong.push(`attempt ${attempt} was retried after attempt ${heard[next]?.attempt} was heard of`);
    }
    const isRun = kind === "started" || kind === "retried";
    // An attempt that is run again after a crash may be told of again.
    if (isRun && index > endAt && !replayed && !log.mayRepeat(end.atMs - 5000, atMs))
      wrong.push(`${kind} of attempt ${attempt} was heard after the end`);
  }
  if (replayed || row.state === JobState.CANCELLED) return wrong;
  for (let attempt = 2; attempt <= end.attempt; attempt++) {
    if (place("retried", attempt - 1) < 0) wrong.push(`attempt ${attempt} came without "retried" of the one before`);
  }
  return wrong;
}
