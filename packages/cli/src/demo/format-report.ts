import type { JsonObject } from "@bufbuild/protobuf";
import { formatFields, formatTable, printable } from "../format-table.ts";
import type { DemoCase } from "./demo-case.ts";
import { percentile } from "./percentile.ts";
import type { DemoReport } from "./run-demo.ts";

const shares = [0.5, 0.95, 0.99];

function perSecond(count: number, ms: number): number {
  return ms > 0 ? Math.round((count / ms) * 1000) : 0;
}

function counted(value: number): string {
  return value.toLocaleString("en-US");
}

/** The report for people. */
export function formatReport(demo: DemoCase, report: DemoReport): string {
  const { total, submitted, rows, results } = report;
  const categories = formatTable(
    [...results.byCategory],
    [
      { head: demo.categoryName, cell: ([name]) => name },
      { head: "jobs", cell: ([, { jobs }]) => counted(jobs), align: "right" },
      { head: "in the file", cell: ([, { file }]) => counted(file), align: "right" },
      { head: "", cell: ([, { jobs, file }]) => (jobs === file ? "equal" : "DIFFERENT") },
    ],
  );
  const rejects = results.rejects.map(
    ({ reason, count, example }) =>
      `  ${counted(count)} × ${printable(reason)}, for example ${JSON.stringify(example)}`,
  );
  const [p50, p95, p99] = shares.map((share) => `${percentile(rows.latenciesMs, share).toFixed(0)} ms`);
  const fields = formatFields([
    [
      "submitted",
      `${counted(submitted.accepted)} of ${counted(total)} over ${submitted.door === "nats" ? "NATS" : "Connect"}`,
    ],
    ["submit rate", `${counted(perSecond(submitted.accepted, submitted.elapsedMs))} jobs/s`],
    [
      "throughput",
      `${counted(perSecond(total, rows.spanMs))} jobs/s, first submit to last finish, ${(rows.spanMs / 1000).toFixed(2)} s`,
    ],
    ["latency", `p50 ${p50}  p95 ${p95}  p99 ${p99}, submit to finish`],
    ["ended", [...results.byState].map(([state, count]) => `${counted(count)} ${state}`).join(", ")],
    [
      "rows",
      `${counted(rows.count)} jobs with one row each${rows.doubled + rows.open > 0 ? `, ${rows.doubled} doubled, ${rows.open} open` : ""}`,
    ],
    ["see them", `millrace list --correlation-id ${report.correlationId}`],
  ]);
  const verdict = report.ok
    ? `checked against the file: equal (${counted(results.equal)} of ${counted(total)} results)`
    : `checked against the file: DIFFERENT (${counted(results.equal)} of ${counted(total)} results are equal)`;
  return [
    `${demo.title}\n${demo.source}`,
    categories,
    rejects.length === 0 ? "no record was refused" : `refused\n${rejects.join("\n")}`,
    fields,
    [verdict, ...submitted.refusals.map((text) => `  not accepted: ${printable(text)}`)]
      .concat(results.differences.map((text) => `  ${printable(text)}`))
      .join("\n"),
  ].join("\n\n");
}

/** The report for programs. */
export function reportJson(demo: DemoCase, report: DemoReport): JsonObject {
  const { correlationId, total, submitted, rows, results, ok } = report;
  const [p50, p95, p99] = shares.map((share) => percentile(rows.latenciesMs, share));
  return {
    ok,
    source: demo.source,
    correlationId,
    total,
    accepted: submitted.accepted,
    door: submitted.door,
    submitPerSecond: perSecond(submitted.accepted, submitted.elapsedMs),
    jobsPerSecond: perSecond(total, rows.spanMs),
    latencyMs: { p50: p50 ?? null, p95: p95 ?? null, p99: p99 ?? null },
    states: Object.fromEntries(results.byState),
    rows: { jobs: rows.count, doubled: rows.doubled, open: rows.open },
    categories: Object.fromEntries(results.byCategory),
    rejects: results.rejects.map(({ reason, count, example }) => ({ reason, count, example })),
    equal: results.equal,
    differences: [...results.differences],
  };
}
