import type { Capabilities, CallResult, LoadedPlugin } from "@millrace/plugin-host";
import { formatCallError } from "./format-call-error.ts";
import { LocalHost } from "./local-host.ts";
import { readable, sameValue } from "./local-world.ts";
import type { Expectation, TestFile } from "./test-file.ts";

/** How one test went. */
export interface TestRun {
  readonly name: string;
  readonly export: string;
  /** What is not as expected; empty when all is. */
  readonly problems: readonly string[];
  readonly actual: Expectation;
  /** Units. */
  readonly fuel: number;
  readonly durationUs: number;
  /** The most linear memory that it had. */
  readonly memoryBytes: number;
  readonly logs: readonly string[];
}

export async function runPluginTest(plugin: LoadedPlugin, granted: Capabilities, test: TestFile): Promise<TestRun> {
  const host = new LocalHost(test.world, granted);
  const context = {
    jobId: `test-${test.name}`,
    attempt: 1,
    maxAttempts: 1,
    deadlineMs: 0,
    tags: [],
    queue: "test",
    type: "test",
    correlationId: "",
  };
  const result = await plugin.call(test.export, test.input, { host, context });
  const actual = actualOf(result, host);
  return {
    name: test.name,
    export: test.export,
    problems: compare(test.expect, actual),
    actual,
    fuel: result.fuel,
    durationUs: result.durationUs,
    memoryBytes: result.memoryBytes,
    logs: result.logs.map(({ level, text }) => `${level}: ${text}`),
  };
}

function actualOf(result: CallResult, host: LocalHost): Expectation {
  const sent = {
    ...(host.events.length === 0 ? {} : { events: host.events }),
    ...(host.jobs.length === 0 ? {} : { jobs: host.jobs }),
  };
  if (!result.ok) return { error: { code: result.code, message: formatCallError(result) }, ...sent };
  if (!isText(result.output)) return { outputBase64: Buffer.from(result.output).toString("base64"), ...sent };
  return { output: readable(result.output), ...sent };
}

function isText(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

function compare(expected: Expectation | undefined, actual: Expectation): string[] {
  if (expected === undefined)
    return ["the test does not say what to expect; --update writes down what it is at present"];
  const { error, events, jobs } = expected;
  const problems: string[] = [];
  if (error === undefined && actual.error !== undefined) {
    problems.push(`it failed with ${actual.error.code}: ${actual.error.message}`);
  } else if (error !== undefined && actual.error === undefined) {
    problems.push(`it should fail with ${error.code}, and gave ${shown(actual.output ?? actual.outputBase64)}`);
  } else if (error !== undefined && actual.error !== undefined) {
    const same = error.code === actual.error.code && actual.error.message.includes(error.message);
    if (!same) problems.push(differs("error", error, actual.error));
  } else if (!sameValue(expected.output, actual.output) || expected.outputBase64 !== actual.outputBase64) {
    problems.push(differs("output", expected.output ?? expected.outputBase64, actual.output ?? actual.outputBase64));
  }
  if (events !== undefined && !sameValue(events, actual.events ?? [])) {
    problems.push(differs("events", events, actual.events ?? []));
  }
  if (jobs !== undefined && !sameValue(jobs, actual.jobs ?? []))
    problems.push(differs("jobs", jobs, actual.jobs ?? []));
  return problems;
}

function differs(what: string, expected: unknown, actual: unknown): string {
  return `${what} differs\n  expected ${shown(expected)}\n  actual   ${shown(actual)}`;
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}
