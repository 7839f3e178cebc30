import type { Evidence, Problem } from "./evidence.ts";
import { casesOf, type JobCase } from "./jobs-of.ts";

/** What a run came to, for people and for machines. */
export interface Verdict {
  readonly seed: number;
  readonly clean: boolean;
  readonly figures: Readonly<Record<string, number>>;
  /** How often each kind of fault was done. */
  readonly faults: Readonly<Record<string, number>>;
  readonly problems: readonly Problem[];
  /** Of the first offending jobs, all that is known. */
  readonly histories: readonly string[];
}

/** Offending jobs whose history is told; the others are named. */
const mostHistories = 20;
const mostProblems = 200;

export function verdictOf(seed: number, evidence: Evidence, problems: readonly Problem[]): Verdict {
  const { submissions, executions, rows, stored, watched, faults } = evidence;
  const sends = submissions.flatMap((submission) => submission.sends);
  const count = (outcome: string): number => sends.filter((send) => send.outcome === outcome).length;
  const begins = executions.filter(({ kind }) => kind === "begin").length;
  const offenders = new Set(problems.flatMap(({ n }) => (n === undefined ? [] : [n])));
  const kinds = Map.groupBy(faults, ({ kind }) => kind);
  return {
    seed,
    clean: problems.length === 0,
    figures: {
      jobs: submissions.length,
      accepted: count("accepted"),
      refused: count("refused"),
      uncertain: count("uncertain"),
      rows: rows.length,
      runs: begins,
      stored: stored.length,
      watched: watched.length,
      kills: faults.filter(({ kind }) => kind.startsWith("kill ") || kind === "disk full").length,
      problems: problems.length,
      offendingJobs: offenders.size,
    },
    faults: Object.fromEntries([...kinds].map(([kind, list]) => [kind, list.length])),
    problems,
    histories: casesOf(evidence)
      .cases.filter(({ n }) => offenders.has(n))
      .slice(0, mostHistories)
      .map((job) => historyOf(job, evidence)),
  };
}

/** The verdict as lines of text. */
export function verdictText({ seed, clean, figures, faults, problems, histories }: Verdict): string {
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([name, count]) => `${name} ${count}`)
      .join(", ");
  const byRule = Object.fromEntries(
    [...Map.groupBy(problems, ({ rule }) => rule)].map(([rule, { length }]) => [rule, length]),
  );
  return [
    `seed ${seed}: ${clean ? "clean" : "NOT CLEAN"}`,
    list(figures),
    `faults: ${list(faults)}`,
    ...(clean ? [] : [`problems: ${list(byRule)}`]),
    ...problems.slice(0, mostProblems).map(problemText),
    ...histories.map((history) => `\n${history}`),
  ].join("\n");
}

export function problemText({ rule, n, id, text }: Problem): string {
  const job = n === undefined ? "" : ` job ${n}`;
  return `- ${rule}:${job}${id === undefined ? "" : ` (${id})`} ${text}`;
}

/** Everything that happened around one job, by time; events as they were stored and heard. */
function historyOf({ submission, rows, executions, stored, watched, n }: JobCase, { faults }: Evidence): string {
  const { plan, sends, cancels, replays } = submission;
  const asked = Object.fromEntries(
    Object.entries(plan).filter(([name, value]) => name !== "editions" && !isNothing(value)),
  );
  const lines: [atMs: number, text: string][] = [
    ...sends.map(({ atMs, ...send }): [number, string] => [atMs, `sent ${JSON.stringify(send)}`]),
    ...cancels.map(({ atMs, ...call }): [number, string] => [atMs, `cancelled ${JSON.stringify(call)}`]),
    ...replays.map(({ atMs, ...call }): [number, string] => [atMs, `run again ${JSON.stringify(call)}`]),
    ...executions.map(({ atMs, kind, run, attempt, pid, ok }): [number, string] => [
      atMs,
      `handler: ${kind} of ${run}/${attempt} in ${pid}${ok === undefined ? "" : `, ${ok ? "well" : "badly"}`}`,
    ]),
    ...stored.map(({ atMs, kind, run, attempt, position }): [number, string] => [
      atMs,
      `EVENTS ${position}: ${kind} of ${run}/${attempt}`,
    ]),
  ];
  const fromMs = Math.min(...lines.map(([atMs]) => atMs));
  const toMs = Math.max(...lines.map(([atMs]) => atMs));
  for (const { kind, target, startMs, endMs } of faults) {
    if (endMs < fromMs - 30_000 || startMs > toMs) continue;
    lines.push([startMs, `-- ${kind}, ${target}, for ${endMs - startMs} ms`]);
  }
  const row = rows.map(({ payload, result, ...fields }) =>
    JSON.stringify({ ...fields, payload: `${payload.length} bytes`, result: result.toString().slice(0, 100) }),
  );
  return [
    `job ${n}: ${JSON.stringify({ ...asked, priorities: plan.editions.map((edition) => edition?.priority) })}`,
    ...lines.toSorted(([a], [b]) => a - b).map(([atMs, text]) => `  ${new Date(atMs).toISOString().slice(11)} ${text}`),
    `  watched: ${watched.map(({ kind, run, attempt, position }) => `${position} ${kind} ${run}/${attempt}`).join(", ") || "nothing"}`,
    ...(row.length === 0 ? ["  no row"] : row.map((text) => `  row ${text}`)),
  ].join("\n");
}

/** What the plan leaves as it is by default. */
function isNothing(value: unknown): boolean {
  return (
    value === "" ||
    value === 0 ||
    value === -1 ||
    value === false ||
    (value as object | undefined)?.constructor === Object
  );
}
