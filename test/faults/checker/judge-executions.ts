import { JobState } from "@millrace/protocol";
import type { Execution, JobRow } from "./evidence.ts";
import type { FaultLog } from "./fault-log.ts";
import type { JobCase } from "./jobs-of.ts";
import { failuresOf, shaOf } from "./job-plan.ts";

/** What a clock may be read late. */
const clockMs = 50;
/** A caller who is told of a cancellation and a worker that begins may just miss each other. */
const missMs = 250;

/** What is wrong with how often, when and with what a job was run, as its handlers wrote it down. */
export function judgeExecutions(job: JobCase, row: JobRow, log: FaultLog): string[] {
  const { submission, executions } = job;
  const { plan, sends, cancels } = submission;
  const wrong: string[] = [];
  const begins = executions.filter(({ kind }) => kind === "begin");
  const ends = executions.filter(({ kind }) => kind === "end");

  const isLast = ({ run, attempt }: Execution): boolean => run === row.run && attempt === row.attempt;
  for (const run of begins) {
    if (run.id !== row.id) wrong.push(`ran as ${run.id}, and its row is ${row.id}`);
    if (run.n !== plan.n) wrong.push(`run ${run.run}/${run.attempt} had a payload that nobody has sent, ${run.sha}`);
    if (run.queue !== row.queue || run.type !== row.type) wrong.push(`ran as ${run.type} of ${run.queue}`);
  }
  // Of two jobs with one id, the second may have begun before anybody knew of the first.
  const alone = sends.filter(({ outcome }) => outcome !== "refused").length === 1;
  if (alone) {
    const sha = shaOf(row.payload);
    for (const run of begins)
      if (run.sha !== sha) wrong.push(`ran with the payload ${run.sha}, and its row has ${sha}`);
  }
  wrong.push(...judgeRepeats(begins, sends.filter(({ outcome }) => outcome !== "refused").length, log));
  const dueMs = plan.delayMs === 0 ? 0 : submission.bornMs + plan.delayMs;
  const early = begins.find(({ atMs }) => atMs < dueMs - clockMs);
  if (early !== undefined) wrong.push(`ran ${dueMs - early.atMs} ms before its time`);
  if (row.state === JobState.SUCCEEDED && !ends.some((end) => end.ok === true && isLast(end)))
    wrong.push(`succeeded at attempt ${row.attempt}, and no handler ended that well`);
  if (row.state === JobState.DEAD && row.attempt <= failuresOf(plan.type) && !begins.some(isLast))
    wrong.push(`dead at attempt ${row.attempt}, which never ran`);
  const told = cancels.find(({ status, detail }) => status === 200 && detail === "JOB_STATE_CANCELLED");
  const after = told === undefined ? undefined : begins.find(({ atMs }) => atMs > told.doneMs + missMs);
  if (told !== undefined && after !== undefined)
    wrong.push(`began ${after.atMs - told.doneMs} ms after a caller was told that it is cancelled`);
  return wrong;
}

/**
 * An attempt runs once. Once more only when something has happened in between that may have kept its end from being known.
 * @param messages which may each have begun before they were known to be one job
 */
function judgeRepeats(begins: readonly Execution[], messages: number, log: FaultLog): string[] {
  const wrong: string[] = [];
  for (const [attempt, runs] of Map.groupBy(begins, ({ run, attempt }) => `${run}/${attempt}`)) {
    const inOrder = runs.toSorted((a, b) => a.atMs - b.atMs);
    const unexplained = inOrder.filter(({ atMs }, index) => {
      const before = inOrder[index - 1];
      return before !== undefined && !log.mayRepeat(before.atMs, atMs);
    });
    if (unexplained.length < messages) continue;
    const at = unexplained.map(({ atMs }) => atMs - (inOrder[0]?.atMs ?? 0)).join(", ");
    wrong.push(`attempt ${attempt} ran again ${at} ms after it had begun, with no fault in between`);
  }
  return wrong;
}
