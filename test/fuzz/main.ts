/** Random requests to every method through every door: `npm run test:fuzz -- --requests 100000`. */
import process from "node:process";
import { readOptions, refuse } from "../lib/read-options.ts";
import { startFuzzTarget } from "./fuzz-target.ts";
import { runFuzz, type FuzzReport } from "./run-fuzz.ts";
import { doors, type Door } from "./wire-request.ts";

const usage = `usage: npm run test:fuzz -- [options]
  --requests N             how many (10000)
  --seed N                 what they are drawn from; the time of day by default
  --method Service/Method  this method, or those whose name has this
  --door DOOR              ${doors.join(", ")}`;
const values = readOptions(
  {
    requests: { type: "string", default: "10000" },
    seed: { type: "string" },
    method: { type: "string" },
    door: { type: "string" },
  },
  usage,
);
const windows = 50;
/** Of the failures. */
let shown = 0;
const mebibyte = 1024 * 1024;

const seed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);
const requests = Number(values.requests);
const door = doors.find((one) => one === values.door);
if (!Number.isInteger(seed)) refuse("--seed is no whole number", usage);
if (!Number.isInteger(requests) || requests < 1) refuse("--requests is no whole number above 0", usage);
if (values.door !== undefined && door === undefined) refuse(`--door ${values.door} is not known`, usage);

console.log(`seed ${seed}`);
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stopping.abort());
await using target = await startFuzzTarget();
const window = Math.max(1, Math.ceil(requests / windows));
const report = await runFuzz(target, {
  seed,
  requests,
  window,
  method: values.method,
  door,
  signal: stopping.signal,
  progress: showProgress,
});
show(report);
process.exitCode = report.failures.length === 0 ? 0 : 1;

function showProgress({ sent, elapsedMs, memory, failures }: FuzzReport): void {
  const last = memory.at(-1);
  const figures = [
    `${sent} requests`,
    `${((sent / elapsedMs) * 1000).toFixed(0)}/s`,
    `rss ${mebibytes(last?.rss)} MiB`,
    `heap ${mebibytes(last?.heapUsed)} MiB`,
    `external ${mebibytes(last?.external)} MiB`,
    `${failures.length} failures`,
  ];
  console.log(figures.join(", "));
  for (; shown < failures.length; shown += 1) console.log(`\n${failures[shown]}\n`);
}

function mebibytes(bytes = 0): string {
  return (bytes / mebibyte).toFixed(0);
}

function show({ sent, answers, methods, failures, memory, healthMs, elapsedMs }: FuzzReport): void {
  for (const failure of failures.slice(shown)) console.log(`\n${failure}`);
  const names: readonly Door[] = doors.filter((one) => answers.has(one));
  const codes = [...new Set(names.flatMap((name) => [...(answers.get(name)?.keys() ?? [])]))].toSorted();
  console.log(`\n${"".padEnd(22)}${names.map((name) => name.padStart(10)).join("")}`);
  for (const code of codes) {
    const row = names.map((name) => String(answers.get(name)?.get(code) ?? 0).padStart(10));
    console.log(code.padEnd(22) + row.join(""));
  }
  const silent = [...methods].filter(([, { ok }]) => ok === 0).map(([name]) => name);
  if (silent.length > 0) console.log(`\nnever answered ok: ${silent.join(", ")}`);
  console.log(
    `\n${sent} requests in ${(elapsedMs / 1000).toFixed(1)} s, rss ${mebibytes(memory[0]?.rss)} MiB before and ` +
      `${mebibytes(memory.at(-1)?.rss)} MiB after, health within ${healthMs.toFixed(0)} ms, ${failures.length} failures`,
  );
}
