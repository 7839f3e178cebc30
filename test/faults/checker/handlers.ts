/** The handlers of the checker's workers: each writes down that it begins and how it ends, before anybody else can know. */
import { openSync, writeSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { headerNames } from "@millrace/protocol";
import { Outcome, type JobContext, type JobHandler } from "@millrace/worker";
import type { Execution } from "./evidence.ts";
import { failuresOf, jobTypes, numberOf, shaOf, slowMs } from "./job-plan.ts";

const path = process.env["CHECKER_EXECUTIONS"];
if (path === undefined) throw new Error("CHECKER_EXECUTIONS names the file of the executions");
// Appended at once and whole: what a killed worker has written stays, and several write into one file.
const file = openSync(path, "a");

function write(record: Execution): void {
  writeSync(file, `${JSON.stringify(record)}\n`);
}

async function perform(job: JobContext): Promise<unknown> {
  const n = numberOf(job.payload);
  const run = Number(job.header(headerNames.run) ?? 1);
  const { id, attempt, queue, type, priority, tags, correlationId } = job;
  const seen = {
    pid: process.pid,
    id,
    n,
    run,
    attempt,
    sha: shaOf(job.payload),
    queue,
    type,
    priority,
    tags,
    correlationId,
  };
  write({ kind: "begin", atMs: Date.now(), ...seen });
  const failures = failuresOf(type);
  let ok = false;
  try {
    if (type === "slow") await pause(slowMs(n), undefined, { signal: job.signal });
    if (attempt <= failures) {
      if (type === "hopeless") return Outcome.failed(`no hope for ${n}`, { retryable: false });
      throw new Error(`attempt ${attempt} of ${n} fails`);
    }
    ok = true;
    return { n, sha: seen.sha };
  } finally {
    write({ kind: "end", atMs: Date.now(), ok, ...seen });
  }
}

export const handlers: Readonly<Record<string, JobHandler>> = Object.fromEntries(
  jobTypes.map((type) => [type, (job: JobContext) => perform(job) as Promise<object>]),
);
