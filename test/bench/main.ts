/**
 * `npm run bench [-- --quick] [-- --json] [-- --only jobs,doors]`: Millrace beside the raw ceilings and its neighbours, all
 * in one run. Neighbours are measured where Redis and PostgreSQL are installed, the doors where h2load is.
 */
import { readOptions, refuse } from "../lib/read-options.ts";
import { renderRows, type Row } from "./report.ts";
import { measureAccess } from "./section-access.ts";
import { measureBrokerMemory } from "./section-broker-memory.ts";
import { measureDoors } from "./section-doors.ts";
import {
  measureBullMq,
  measureChosenIds,
  measureJobs,
  measureMemory,
  measurePostgresQueues,
  type JobCeilings,
  type Sizes,
} from "./section-jobs.ts";
import { measureQueues } from "./section-queues.ts";
import { measureSandbox } from "./section-sandbox.ts";
import { measurePlugins, measureProjection } from "./section-services.ts";
import { measureInternalCalls } from "./section-internal.ts";
import { measureLogins } from "./section-logins.ts";
import { measureWasm } from "./section-wasm.ts";

const sectionNames = [
  "jobs",
  "ids",
  "projection",
  "plugins",
  "wasm",
  "sandbox",
  "doors",
  "access",
  "logins",
  "internal",
  "neighbours",
  "memory",
  "queues",
  "broker-memory",
] as const;
const usage = `usage: npm run bench -- [options]
  --quick      smaller rounds
  --only LIST  sections, with commas: ${sectionNames.join(",")}
  --json       print the report as JSON`;
const values = readOptions({ quick: { type: "boolean" }, json: { type: "boolean" }, only: { type: "string" } }, usage);

const sizes: Sizes = values.quick
  ? { jobs: 20_000, backlog: 20_000, waiting: 100_000, latencies: 100, requests: 10_000 }
  : { jobs: 100_000, backlog: 100_000, waiting: 1_000_000, latencies: 500, requests: 40_000 };

let measured: JobCeilings | undefined;
/** Once, and only when a section is held against it. */
const bull = async () => (measured ??= await measureBullMq(sizes));
const sections: Record<(typeof sectionNames)[number], () => Promise<Row[]>> = {
  jobs: async () => measureJobs(sizes, await bull()),
  ids: () => measureChosenIds(sizes),
  projection: async () => measureProjection(sizes, await bull()),
  plugins: () => measurePlugins(sizes),
  wasm: () => measureWasm(),
  sandbox: () => measureSandbox(sizes),
  doors: () => measureDoors(sizes),
  access: () => measureAccess(sizes),
  logins: () => measureLogins(),
  internal: () => measureInternalCalls(sizes),
  neighbours: () => measurePostgresQueues(sizes),
  memory: () => measureMemory(sizes),
  queues: () => measureQueues(sizes),
  "broker-memory": () => measureBrokerMemory(sizes),
};

const isSection = (name: string): name is keyof typeof sections => Object.hasOwn(sections, name);
const wanted = values.only?.split(",") ?? sectionNames;
const unknown = wanted.filter((name) => !isSection(name));
if (unknown.length > 0) refuse(`no section ${unknown.join(", ")}`, usage);
const report: Record<string, Row[]> = {};
for (const name of wanted.filter(isSection)) {
  report[name] = await sections[name]();
  if (!values.json) console.log(`\n## ${name}\n${renderRows(report[name])}`);
}
if (values.json) console.log(JSON.stringify(report, null, 2));
