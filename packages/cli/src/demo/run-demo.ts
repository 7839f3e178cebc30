import type { JsonObject } from "@bufbuild/protobuf";
import type { Client, JobSpec } from "@millrace/client";
import { isTerminal, MillraceError, newJobId, PluginState } from "@millrace/protocol";
import { checkResults, type CheckedResults } from "./check-results.ts";
import type { DemoCase } from "./demo-case.ts";
import { followJobs } from "./follow-jobs.ts";
import { endOf, JobLedger } from "./job-ledger.ts";
import type { Progress } from "./progress.ts";
import { readRows, type Rows } from "./read-rows.ts";
import { submitOverConnect, submitOverNats, tryConnect, type Submitted } from "./submit-records.ts";

export interface DemoOptions {
  readonly demo: DemoCase;
  readonly queue: string;
  /** Only the first records. */
  readonly limit: number | undefined;
  /** Where NATS may be; over Connect without it, or when nothing answers there. */
  readonly natsUrl: string | undefined;
  readonly signal: AbortSignal;
}

export interface DemoReport {
  readonly correlationId: string;
  readonly total: number;
  readonly submitted: Submitted;
  readonly rows: Rows;
  readonly results: CheckedResults;
  /** Everything is as it should be. */
  readonly ok: boolean;
}

/** One job for each record of a public file: submits them, follows them to their end, and checks every result. */
export async function runDemo(client: Client, progress: Progress, options: DemoOptions): Promise<DemoReport> {
  const { demo, queue, limit, natsUrl, signal } = options;
  await requireHandler(client, demo, signal);
  const records = (await demo.records()).slice(0, limit);
  const correlationId = `demo-${newJobId()}`;
  const ledger = new JobLedger(`${correlationId}-`, records.length);
  const jobs = records.map((payload, index) => toJob(demo, queue, correlationId, ledger.idOf(index), payload));

  const submitPhase = progress.phase("submitted", records.length);
  const endPhase = progress.phase("finished", records.length);
  await using bus = natsUrl === undefined ? undefined : await tryConnect(natsUrl);
  const onAccepted = (accepted: number) => submitPhase.update(accepted + 1);
  const resumeAfter = await submitFirst(client, jobs, ledger, signal);
  const rest = jobs.slice(1);
  const submitting =
    bus === undefined ? submitOverConnect(client, rest, onAccepted, signal) : submitOverNats(bus, rest, onAccepted);
  const onEnded = (ended: number) => endPhase.update(ended);
  await followJobs(client, { queue, type: demo.type, resumeAfter }, ledger, submitting, onEnded, signal);
  const restSubmitted = await submitting;
  const submitted = { ...restSubmitted, accepted: restSubmitted.accepted + 1 };
  const rows = await readRows(client, correlationId, ledger, signal);
  const results = checkResults(demo, records, ledger);
  const total = records.length;
  const accounted = rows.count === total && rows.doubled === 0 && rows.open === 0;
  const ok = submitted.accepted === total && ledger.complete && accounted && results.equal === total;
  return { correlationId, total, submitted, rows, results, ok };
}

function toJob(demo: DemoCase, queue: string, correlationId: string, id: string, payload: JsonObject): JobSpec {
  // A record that is refused once is refused for ever.
  return { type: demo.type, queue, id, payload, correlationId, maxAttempts: 1 };
}

/**
 * Submits the first job by itself.
 * @returns its place in the event stream: a watch from there on misses none of the others, however late it stands
 */
async function submitFirst(
  client: Client,
  jobs: readonly JobSpec[],
  ledger: JobLedger,
  signal: AbortSignal,
): Promise<string> {
  const [first] = jobs;
  if (first === undefined) throw new MillraceError("invalid_argument", "there is no record to submit");
  const { id } = await client.submit(first, { signal });
  for await (const { position, update } of client.watch(id, { signal })) {
    // It may have ended before that place.
    if (update.case === "job" && isTerminal(update.value.state)) ledger.add(id, endOf(update.value));
    return position;
  }
  return "";
}

/** Without a handler the jobs would wait; better to say so before they do. */
async function requireHandler(client: Client, demo: DemoCase, signal: AbortSignal): Promise<void> {
  const { plugins } = await client.plugins.listPlugins({}, { signal });
  const serves = plugins.some(
    ({ state, manifest }) =>
      state === PluginState.ACTIVE && manifest?.handlers.some((handler) => handler.type === demo.type) === true,
  );
  if (serves) return;
  throw new MillraceError(
    "failed_precondition",
    `no plugin serves jobs of type ${demo.type}: install it with millrace plugin push ${demo.plugin}`,
  );
}
