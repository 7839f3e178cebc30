/** The system under seeded faults, and every promise looked at afterwards: `npm run test:checker -- --seed 1 --minutes 10`. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { readOptions, refuse } from "../../lib/read-options.ts";
import { faultKinds, type FaultKind } from "./fault-plan.ts";
import { judge } from "./judge.ts";
import { runCheck } from "./run-check.ts";
import { verdictOf, verdictText } from "./verdict.ts";

const usage = `usage: npm run test:checker -- [options]
  --seed N          what faults and jobs are drawn from; the time of day by default
  --minutes N       how long jobs come and faults happen (10)
  --kills N         faults in that time (20)
  --rate N          jobs a second, beside bursts (30)
  --quiet SECONDS   longest wait for the end of all jobs after the last fault (240)
  --broker PATH     the nats-server to run on
  --cluster         three brokers
  --faults LIST     kinds of faults, with commas: ${faultKinds.map((kind) => `"${kind}"`).join(",")}
  --json            print the verdict as JSON`;
const values = readOptions(
  {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    minutes: { type: "string", default: "10" },
    kills: { type: "string", default: "20" },
    rate: { type: "string", default: "30" },
    broker: { type: "string" },
    cluster: { type: "boolean", default: false },
    quiet: { type: "string", default: "240" },
    faults: { type: "string" },
    json: { type: "boolean", default: false },
  },
  usage,
);

const [seed, minutes, kills, rate, quiet] = [values.seed, values.minutes, values.kills, values.rate, values.quiet].map(
  Number,
);
const kinds = values.faults?.split(",").map((kind) => kind.trim());
const isKind = (kind: string): kind is FaultKind => (faultKinds as readonly string[]).includes(kind);
if (!Number.isInteger(seed)) refuse("--seed is no whole number", usage);
if (!Number.isInteger(kills)) refuse("--kills is no whole number", usage);
for (const [name, value] of Object.entries({ minutes, rate, quiet })) {
  if (!(Number(value) > 0)) refuse(`--${name} is no number above 0`, usage);
}
if (values.broker !== undefined && !existsSync(values.broker)) refuse(`there is no ${values.broker}`, usage);
if (kinds?.every(isKind) === false) refuse("--faults has what is no kind of fault", usage);

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
