import { isDeepStrictEqual } from "node:util";
import { defaultMaxAttempts, JobState, jobStream, priorityLevel, scheduleStream, stateName } from "@millrace/protocol";
import type { JobRow, Submission } from "./evidence.ts";
import type { FaultLog } from "./fault-log.ts";
import type { JobCase } from "./jobs-of.ts";
import { failuresOf, shaOf, type JobEdition } from "./job-plan.ts";

/** Headers that Millrace's own doors may add to what a client sent. */
const ownHeader = /^(?:Millrace-|traceparent$)/i;
/** Runs that took their worker down before a job is given up. */
const crashLimit = 5;

/** What is wrong with the row of a job, field by field; nothing when it says what was submitted, and how that had to end. */
export function judgeRow(job: JobCase, row: JobRow, owners: Readonly<Record<string, string>>, log: FaultLog): string[] {
  const { plan } = job.submission;
  const wrong: string[] = [];
  const expect = (field: string, found: unknown, wanted: unknown): void => {
    if (!isDeepStrictEqual(found, wanted)) wrong.push(`${field} is ${shown(found)}, not ${shown(wanted)}`);
  };
  const edition = editionOf(job.submission, row);
  if (plan.id !== undefined) expect("id", row.id, plan.id);
  expect("queue", row.queue, plan.queue);
  expect("type", row.type, plan.type);
  expect("priority", row.priority, priorityLevel(edition.priority));
  if (!isSamePayload(plan.door, edition, row.payload))
    wrong.push(`payload of ${row.payload.length} bytes is ${shaOf(row.payload)}, not ${shaOf(edition.bytes)}`);
  expect("tags", [...row.tags], [...plan.tags]);
  expect("correlation id", row.correlationId, plan.correlationId);
  expect("unique key", row.uniqueKey, plan.uniqueKey);
  expect("owner", row.owner, plan.door === "rest" ? owners[plan.user] : "");
  if (plan.traceparent !== "") expect("traceparent", row.traceparent, plan.traceparent);
  expect("max attempts", row.maxAttempts, plan.maxAttempts || defaultMaxAttempts);
  judgeHeaders(job, row, expect);
  if (plan.delayMs > 0 && row.attempt === 1 && !isPast(job.submission))
    expect("run at", row.runAtMs, job.submission.bornMs + plan.delayMs);
  judgePlace(job, row, edition, expect);
  judgeDuplicates(job, row, expect);
  wrong.push(...judgeState(job, row, log));
  return wrong;
}

/** A time that has passed before the job was accepted by REST is no time to wait for. */
function isPast({ plan, bornMs, sends }: Submission): boolean {
  const last = sends.findLast(({ outcome }) => outcome !== "refused");
  return plan.door === "rest" && (last?.doneMs ?? 0) >= bornMs + plan.delayMs;
}

/** The one that was accepted first counts; where nobody was told, either may have been. */
function editionOf({ plan, sends }: Submission, row: JobRow): JobEdition {
  const [first, second] = plan.editions;
  if (second === undefined) return first;
  const earliest = sends.find(({ outcome }) => outcome !== "refused");
  if (earliest?.outcome === "accepted") return earliest.edition === 0 ? first : second;
  const either = sends.filter(({ outcome }) => outcome !== "refused").map(({ edition }) => edition);
  if (!either.includes(1)) return first;
  return isSamePayload(plan.door, second, row.payload) && !isSamePayload(plan.door, first, row.payload)
    ? second
    : first;
}

/** JSON that came by REST was a value, whose text is Millrace's to write. */
function isSamePayload(door: "nats" | "rest", { form, bytes }: JobEdition, payload: Buffer): boolean {
  if (payload.equals(bytes)) return true;
  if (door === "nats" || form !== "json") return false;
  try {
    return isDeepStrictEqual(JSON.parse(payload.toString()), JSON.parse(Buffer.from(bytes).toString()));
  } catch {
    return false;
  }
}

type Expect = (field: string, found: unknown, wanted: unknown) => void;

function judgeHeaders({ submission: { plan } }: JobCase, row: JobRow, expect: Expect): void {
  for (const [name, value] of Object.entries(plan.headers)) expect(`header ${name}`, row.headers[name], value);
  const others = Object.keys(row.headers).filter((name) => !ownHeader.test(name) && !(name in plan.headers));
  expect("other headers", others, []);
}

/** A job that has never moved lies where the broker said. */
function judgePlace({ submission }: JobCase, row: JobRow, edition: JobEdition, expect: Expect): void {
  const { plan, sends, replays } = submission;
  // After a failure the next attempt has a place of its own, also when the job was cancelled before it began.
  const moved = row.attempt > 1 || row.moves > 0 || row.errors.some(({ code }) => code === "HANDLER_FAILED");
  if (row.stream === "" || plan.delayMs > 0 || moved || replays.length > 0) return;
  if (plan.door === "rest" && row.stream === scheduleStream) return;
  expect("stream", row.stream, jobStream(edition.priority));
  const [ack, ...more] = sends.filter(({ outcome }) => outcome !== "refused");
  if (ack?.seq === undefined || more.length > 0) return;
  expect("sequence", row.streamSeq, ack.seq);
}

function judgeState({ submission, executions }: JobCase, row: JobRow, log: FaultLog): string[] {
  const { plan, cancels } = submission;
  const { state, attempt, errors } = row;
  const failures = failuresOf(plan.type);
  const most = plan.maxAttempts || defaultMaxAttempts;
  const dies = plan.type === "hopeless" ? 1 : failures >= most ? most : 0;
  const wrong: string[] = [];
  const crashes = executions.filter(({ kind }) => kind === "begin").length - executions.filter(isEnd).length;
  const crashed = errors.some(({ code }) => code === "CRASHED");
  switch (state) {
    case JobState.SUCCEEDED: {
      if (dies > 0) wrong.push("succeeded, and its handler always fails");
      if (attempt !== failures + 1 && !crashed) wrong.push(`succeeded at attempt ${attempt}, not ${failures + 1}`);
      const { length } = errors.filter((error) => isOf(error, row));
      if (length > 0) wrong.push(`succeeded at attempt ${attempt}, and carries an error of it: ${shown(errors)}`);
      wrong.push(...judgeResult(submission, row));
      break;
    }
    case JobState.DEAD:
      if (crashed && crashes >= crashLimit) break;
      if (dies === 0) wrong.push(`dead, and its handler does not always fail: ${shown(errors)}`);
      else if (attempt !== dies) wrong.push(`dead at attempt ${attempt}, not ${dies}`);
      if (dies > 0 && !errors.some((error) => isOf(error, row) && error.message.includes(`${plan.n}`)))
        wrong.push(`dead, without the error of attempt ${attempt}: ${shown(errors)}`);
      break;
    case JobState.CANCELLED:
      if (cancels.length === 0) wrong.push("cancelled, and nobody asked for that");
      break;
    case JobState.EXPIRED: {
      const deadlineMs = submission.bornMs + plan.deadlineMs;
      if (plan.deadlineMs === 0) wrong.push("expired, and it has no deadline");
      else if (row.finishedMs < deadlineMs - 50) wrong.push(`expired at ${row.finishedMs}, before its deadline`);
      else if (executions.some(({ kind, ok }) => kind === "end" && ok) && !log.anything(deadlineMs - 1000, deadlineMs))
        wrong.push("expired, and had run");
      break;
    }
    default:
      wrong.push(`has not ended: ${stateName(state)}`);
  }
  return [...wrong, ...judgeAnswers(submission, row)];
}

/** Messages that the broker stored beside the first are noted on the row, and nothing else comes of them. */
function judgeDuplicates({ submission: { plan, sends }, executions }: JobCase, row: JobRow, expect: Expect): void {
  const places = sends.flatMap(({ stream, seq, duplicate }) =>
    seq === undefined || duplicate ? [] : `${stream}/${seq}`,
  );
  if (plan.door !== "nats" || places.length < 2) return;
  const noted = row.duplicates.filter(({ place }) => places.includes(place));
  // The first is the job itself, unless one that nobody was told of was stored before.
  if (noted.length < places.length - 1) expect("duplicates", row.duplicates, places);
  // What another payload was run with was no run of this job.
  const sha = shaOf(row.payload);
  const ran = executions.some((run) => run.sha !== sha);
  if (ran && noted.length > 0)
    expect(
      "duplicates that ran",
      noted.some(({ mayHaveRun }) => mayHaveRun),
      true,
    );
}

/** Whether an error is of the attempt that the row is of. */
function isOf({ run = 1, attempt }: JobRow["errors"][number], row: JobRow): boolean {
  return run === row.run && attempt === row.attempt;
}

const isEnd = ({ kind }: { readonly kind: string }): boolean => kind === "end";

/** What the handler gives back names the job and what it was given. */
function judgeResult({ plan }: Submission, row: JobRow): string[] {
  const wanted = JSON.stringify({ n: plan.n, sha: shaOf(row.payload) });
  const found = row.result.toString();
  return found === wanted ? [] : [`result is ${found.slice(0, 200)}, not ${wanted}`];
}

/** What callers who cancelled were told has to be what came of it. */
function judgeAnswers({ cancels, sends }: Submission, row: JobRow): string[] {
  const wrong: string[] = [];
  const cancelled = row.state === JobState.CANCELLED;
  const told = cancels.some(({ status, detail }) => status === 200 && detail === "JOB_STATE_CANCELLED");
  if (told && !cancelled) wrong.push(`${stateName(row.state)}, and a caller was told that it is cancelled`);
  const [only, ...more] = cancels;
  if (only?.status === 409 && more.length === 0 && cancelled)
    wrong.push(`cancelled, and the only caller was told: ${only.detail}`);
  const accepted = sends.find(({ outcome }) => outcome === "accepted");
  const unknown = cancels.find(
    ({ status, atMs }) => status === 404 && accepted !== undefined && atMs > accepted.doneMs,
  );
  if (unknown !== undefined) wrong.push(`cancelling it was answered 404 at ${unknown.doneMs}, after it was accepted`);
  return wrong;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
