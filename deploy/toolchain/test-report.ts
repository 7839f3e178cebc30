import { readFile } from "node:fs/promises";

export interface TestReport {
  readonly passed: number;
  /** Failed tests, and one for each file that failed without one: it did not load, or its set-up threw. */
  readonly failed: number;
  readonly skipped: number;
}

/** The part of vitest's JSON report that is read here; it follows Jest's. */
interface VitestReport {
  readonly testResults: readonly {
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/** Counts of vitest's JSON report; all zero when there is none, because vitest did not get that far. */
export async function readTestReport(file: string): Promise<TestReport> {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  for (const { status, assertionResults } of await readFiles(file)) {
    const failedHere = assertionResults.filter((test) => test.status === "failed").length;
    const passedHere = assertionResults.filter((test) => test.status === "passed").length;
    passed += passedHere;
    failed += failedHere === 0 && status === "failed" ? 1 : failedHere;
    skipped += assertionResults.length - passedHere - failedHere;
  }
  return { passed, failed, skipped };
}

async function readFiles(file: string): Promise<VitestReport["testResults"]> {
  try {
    return (JSON.parse(await readFile(file, "utf8")) as VitestReport).testResults;
  } catch {
    return [];
  }
}
