import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { readTestReport, type TestReport } from "../../deploy/toolchain/test-report.ts";
import { matrixFolder } from "./fetch-servers.ts";

export interface Part {
  readonly name: string;
  /** What vitest is told to run. */
  readonly args: readonly string[];
}

export interface PartResult extends TestReport {
  readonly ok: boolean;
  readonly seconds: number;
}

const root = path.resolve(import.meta.dirname, "../..");
const logTailLines = 80;

const ofPackage = (name: string): Part => ({ name, args: ["--project", "parts", `packages/${name}/`] });

/** Faults in short: those that a broker takes part in. */
const faults = ["broker-", "worker-killed", "client-reconnects", "cluster"].map((name) => `test/faults/${name}`);

export const brokerParts: readonly Part[] = [
  ...["bus", "worker", "projector", "scheduler"].map(ofPackage),
  { name: "faults", args: ["--config", "vitest.faults.config.ts", ...faults] },
];

export const databaseParts: readonly Part[] = [ofPackage("store")];

/** Runs tests of one part with nothing but the given servers in sight; what they say goes to a log, its end is shown on failure. */
export async function runPart(server: string, part: Part, env: NodeJS.ProcessEnv): Promise<PartResult> {
  const folder = path.join(matrixFolder, "log");
  await mkdir(folder, { recursive: true });
  const name = `${server}-${part.name}`.replaceAll(" ", "-");
  const report = path.join(folder, `${name}.json`);
  await rm(report, { force: true });
  const logFile = path.join(folder, `${name}.log`);
  const started = performance.now();
  const code = await runVitest([...part.args, "--reporter=json", `--outputFile.json=${report}`], env, logFile);
  const tests = await readTestReport(report);
  const ok = code === 0 && tests.failed === 0 && tests.passed > 0;
  if (!ok) console.log((await readFile(logFile, "utf8")).split("\n").slice(-logTailLines).join("\n"));
  return { ...tests, ok, seconds: (performance.now() - started) / 1000 };
}

async function runVitest(args: readonly string[], env: NodeJS.ProcessEnv, logFile: string): Promise<number> {
  // Whoever starts a broker by other ways than the test fixture finds it on the PATH.
  const broker = env["MILLRACE_TEST_NATS_BIN"];
  const folders = [...(broker === undefined ? [] : [path.dirname(broker)]), process.env["PATH"]];
  const { DATABASE_URL: _, NATS_URL: __, ...inherited } = process.env;
  const child = spawn(
    process.execPath,
    [path.join(root, "node_modules/vitest/vitest.mjs"), "run", "--reporter=default", ...args],
    {
      cwd: root,
      env: {
        ...inherited,
        NODE_ENV: "test",
        NO_COLOR: "1",
        MILLRACE_TEST_CLUSTERS: "1",
        ...env,
        PATH: folders.join(path.delimiter),
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const stop = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const log = createWriteStream(logFile);
  for (const stream of [child.stdout, child.stderr]) stream.pipe(log, { end: false });
  const { promise, resolve } = Promise.withResolvers<number>();
  child.once("error", () => resolve(1));
  child.once("close", (code) => resolve(code ?? 1));
  const code = await promise;
  process.off("SIGINT", stop).off("SIGTERM", stop);
  await new Promise<void>((done) => log.end(done));
  return code;
}
