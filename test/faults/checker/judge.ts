import { stateName } from "@millrace/protocol";
import type { Evidence, JobRow, Problem } from "./evidence.ts";
import { FaultLog } from "./fault-log.ts";
import { judgeEvents } from "./judge-events.ts";
import { judgeExecutions } from "./judge-executions.ts";
import { judgeRow } from "./judge-row.ts";
import { casesOf, type JobCase } from "./jobs-of.ts";

/** An answer may have been on its way when the next caller asked. */
const answerSlackMs = 100;

/** Compares what was promised with what came of it. Nothing is wrong when the list is empty. */
export function judge(evidence: Evidence): Problem[] {
  const log = new FaultLog(evidence.faults);
  const { cases, strangers, strangeRuns } = casesOf(evidence);
  const problems: Problem[] = cases.flatMap((job) => judgeJob(job, evidence, log));
  for (const { id, payload } of strangers) {
    problems.push({ rule: "row", id, text: `a row of ${payload.length} bytes that nobody has submitted` });
  }
  for (const { id, kind, sha } of strangeRuns) {
    if (kind === "begin") problems.push({ rule: "executions", id, text: `a run of ${sha} that nobody has submitted` });
  }
  problems.push(...judgeKeys(cases), ...judgeCounts(evidence));
  for (const { stream, consumer, pending, ackPending } of evidence.backlogs) {
    if (pending + ackPending === 0) continue;
    const text = `${consumer} on ${stream} still has ${pending} to deliver and ${ackPending} without an ack`;
    problems.push({ rule: "broker", text });
  }
  for (const text of evidence.incidents) problems.push({ rule: "incident", text });
  for (const [answer, count] of Object.entries(evidence.answers))
    problems.push({ rule: "answer", text: `${count} × ${answer}` });
  return problems;
}

function judgeJob(job: JobCase, evidence: Evidence, log: FaultLog): Problem[] {
  const { n, accepted, rows } = job;
  const [row, ...more] = rows;
  const problem = (rule: string, text: string, id = row?.id): Problem => ({
    rule,
    n,
    ...(id === undefined ? {} : { id }),
    text,
  });
  if (row === undefined) {
    const id = job.submission.sends.find((send) => send.id !== undefined)?.id;
    if (accepted) return [problem("lost", "accepted, and there is no row", id)];
    return job.executions.length > 0 ? [problem("lost", "ran, and there is no row", id)] : [];
  }
  const problems = more.map(({ id }) => problem("row", `a second row, ${id}`));
  if (job.submission.sends.every(({ outcome }) => outcome === "refused")) {
    problems.push(problem("row", "has a row, and was refused"));
  }
  problems.push(
    ...judgeRow(job, row, evidence.owners, log).map((text) => problem("row", text)),
    ...judgeExecutions(job, row, log).map((text) => problem("executions", text)),
    ...judgeEvents(job, row, evidence.storedWhole, log).map((text) => problem("events", text)),
  );
  return problems;
}

/** At most one unfinished job has a key: whoever got it next was accepted when the one before had ended. */
function judgeKeys(cases: readonly JobCase[]): Problem[] {
  const problems: Problem[] = [];
  const holders = cases.filter(({ accepted, rows, submission }) => {
    return accepted && rows.length > 0 && submission.plan.uniqueKey !== "";
  });
  for (const [key, jobs] of Map.groupBy(holders, ({ submission }) => submission.plan.uniqueKey)) {
    const spans = jobs
      .map((job) => {
        const ack = job.submission.sends.find(({ outcome }) => outcome === "accepted");
        return { job, takenMs: ack?.doneMs ?? 0, endedMs: job.rows[0]?.finishedMs ?? 0 };
      })
      .toSorted((a, b) => a.takenMs - b.takenMs);
    for (const [index, next] of spans.entries()) {
      const before = spans[index - 1];
      if (before === undefined || before.endedMs <= next.takenMs + answerSlackMs) continue;
      const text = `has the unique key ${key} since ${next.takenMs}, when job ${before.job.n} had not ended: ${before.endedMs}`;
      problems.push({ rule: "unique key", n: next.job.n, text });
    }
  }
  return problems;
}

/** Counters are what counting comes to. */
function judgeCounts({ rows, queueCounts, ownerCounts }: Evidence): Problem[] {
  const problems: Problem[] = [];
  const counted = countByQueue(rows);
  const queues = new Set([...counted.keys(), ...queueCounts.map(({ queue }) => queue)]);
  for (const queue of queues) {
    const told = queueCounts.find((counts) => counts.queue === queue)?.counts ?? {};
    const found = counted.get(queue) ?? {};
    for (const state of new Set([...Object.keys(told), ...Object.keys(found)])) {
      if ((told[state] ?? 0) === (found[state] ?? 0)) continue;
      const text = `queue ${queue} counts ${told[state] ?? 0} ${state}, and has ${found[state] ?? 0} rows`;
      problems.push({ rule: "counters", text });
    }
  }
  for (const { owner, jobs, bytes } of ownerCounts) {
    const open = rows.filter((row) => row.owner === owner && row.finishedMs === 0);
    const size = open.reduce((sum, { payload }) => sum + payload.length, 0);
    if (jobs === open.length && bytes === size) continue;
    const text = `owner ${owner} counts ${jobs} unfinished jobs of ${bytes} bytes, and has ${open.length} of ${size}`;
    problems.push({ rule: "counters", text });
  }
  return problems;
}

function countByQueue(rows: readonly JobRow[]): Map<string, Record<string, number>> {
  const queues = new Map<string, Record<string, number>>();
  for (const { queue, state } of rows) {
    const counts = queues.get(queue) ?? {};
    queues.set(queue, counts);
    const name = stateName(state);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return queues;
}
