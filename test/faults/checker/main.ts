/** The system under seeded faults, and every promise looked at afterwards: `npm run test:checker -- --seed 1 --minutes 10`. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { faultKinds, type FaultKind } from "./fault-plan.ts";
import { judge } from "./judge.ts";
import { runCheck } from "./run-check.ts";
import { verdictOf, verdictText } from "./verdict.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    minutes: { type: "string", default: "10" },
    kills: { type: "string", default: "20" },
    /** Jobs a second, beside bursts. */
    rate: { type: "string", default: "30" },
    /** A nats-server to run on. */
    broker: { type: "string" },
    cluster: { type: "boolean", default: false },
    /** Longest wait for the end of all jobs after the last fault, in seconds. */
    quiet: { type: "string", default: "240" },
    /** Kinds of faults, with commas. */
    faults: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

const [seed, minutes, kills, rate, quiet] = [values.seed, values.minutes, values.kills, values.rate, values.quiet].map(
  Number,
);
const kinds = values.faults?.split(",").map((kind) => kind.trim());
const isKind = (kind: string): kind is FaultKind => (faultKinds as readonly string[]).includes(kind);
if (
  !Number.isInteger(seed) ||
  !Number.isInteger(kills) ||
  !(Number(minutes) > 0) ||
  !(Number(rate) > 0) ||
  !(Number(quiet) > 0) ||
  (values.broker !== undefined && !existsSync(values.broker)) ||
  kinds?.every(isKind) === false
) {
  console.error(
    `usage: npm run test:checker -- [--seed N] [--minutes N] [--kills N] [--rate N] [--broker PATH] [--quiet SECONDS] [--cluster] [--json]
  [--faults ${faultKinds.map((kind) => `"${kind}"`).join(",")}]`,
  );
  process.exit(2);
}

// The processes and the disk of the run are ended by what is registered for the exit.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
// With --json the verdict alone is on standard output.
const say = (text: string): void => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`);
const folder = mkdtempSync(join(tmpdir(), "millrace-checker-"));
const evidence = await runCheck({
  seed: seed ?? 0,
  durationMs: Number(minutes) * 60_000,
  kills: kills ?? 0,
  rate: rate ?? 0,
  mostBurst: 2500,
  mostDelayMs: 20_000,
  broker: values.broker,
  cluster: values.cluster,
  single: false,
  ackWaitMs: 10_000,
  kinds: kinds?.filter(isKind),
  quietMs: Number(quiet) * 1000,
  folder,
  onProgress: say,
});
if (evidence === undefined) {
  console.error("no PostgreSQL found: the services run as processes of their own, and need one");
  process.exit(2);
}
const verdict = verdictOf(seed ?? 0, evidence, judge(evidence));
console.log(values.json ? JSON.stringify(verdict) : verdictText(verdict));
if (verdict.clean) rmSync(folder, { recursive: true, force: true });
else {
  writeFileSync(join(folder, "verdict.json"), JSON.stringify(verdict, undefined, 2));
  say(`logs, runs and the verdict are in ${folder}`);
}
process.exitCode = verdict.clean ? 0 : 1;
