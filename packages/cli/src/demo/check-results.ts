import { isDeepStrictEqual } from "node:util";
import { toJson, type JsonObject } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { JobState, stateName, type JobErrorCode, type Payload } from "@millrace/protocol";
import { formatError } from "../format-job.ts";
import type { DemoCase, DemoOutcome } from "./demo-case.ts";
import type { Ended, JobLedger } from "./job-ledger.ts";

export interface Reject {
  readonly reason: string;
  count: number;
  /** One of the records. */
  readonly example: JsonObject;
}

/** What the jobs came to, beside what the file says. */
export interface CheckedResults {
  readonly byState: ReadonlyMap<string, number>;
  readonly byCategory: ReadonlyMap<string, { jobs: number; file: number }>;
  readonly rejects: readonly Reject[];
  /** Jobs whose result is exactly what was computed here. */
  readonly equal: number;
  /** The first few that are not. */
  readonly differences: readonly string[];
}

const refusedCode: JobErrorCode = "HANDLER_FAILED";
const keptDifferences = 5;

export function checkResults(demo: DemoCase, records: readonly JsonObject[], ledger: JobLedger): CheckedResults {
  const byState = new Map<string, number>();
  const byCategory = new Map<string, { jobs: number; file: number }>();
  const rejects = new Map<string, Reject>();
  const differences: string[] = [];
  let equal = 0;
  const category = (name: string) => {
    const counts = byCategory.get(name) ?? { jobs: 0, file: 0 };
    byCategory.set(name, counts);
    return counts;
  };

  records.forEach((record, index) => {
    const ended = ledger.get(index);
    const state = ended === undefined ? "not ended" : stateName(ended.state);
    byState.set(state, (byState.get(state) ?? 0) + 1);
    const expected = demo.compute(record);
    if (expected.accepted) category(demo.categoryOf(expected.output)).file++;
    const actual = outcomeOf(ended);
    if (typeof actual !== "string") {
      if (actual.accepted) category(headingOf(demo, actual.output)).jobs++;
      else {
        const reject = rejects.get(actual.reason);
        if (reject === undefined) rejects.set(actual.reason, { reason: actual.reason, count: 1, example: record });
        else reject.count++;
      }
      if (isDeepStrictEqual(actual, expected)) {
        equal++;
        return;
      }
    }
    if (differences.length < keptDifferences) {
      const got = typeof actual === "string" ? actual : JSON.stringify(actual);
      differences.push(`record ${index} ${JSON.stringify(record)}: got ${got}, computed ${JSON.stringify(expected)}`);
    }
  });
  return {
    byState,
    byCategory: new Map([...byCategory].sort(([, a], [, b]) => b.file - a.file)),
    rejects: [...rejects.values()].sort((a, b) => b.count - a.count),
    equal,
    differences,
  };
}

/** A result without its heading differs from what was computed, and is counted there. */
function headingOf(demo: DemoCase, output: JsonObject): string {
  try {
    return demo.categoryOf(output);
  } catch {
    return "(none)";
  }
}

/** What a job says, or why it says nothing. A plugin refuses a record by failing, with the reason as its message. */
function outcomeOf(ended: Ended | undefined): DemoOutcome | string {
  if (ended === undefined) return "no end";
  const { state, error } = ended;
  if (state === JobState.DEAD && error?.code === refusedCode) return { accepted: false, reason: error.message };
  if (state !== JobState.SUCCEEDED) return `${stateName(state)} ${formatError(error)}`;
  try {
    return { accepted: true, output: toObject(ended.result) };
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function toObject(payload: Payload | undefined): JsonObject {
  const content = payload?.content;
  let value: unknown;
  if (content?.case === "json") value = toJson(ValueSchema, content.value);
  else if (content?.case === "text") value = JSON.parse(content.value);
  else if (content?.case === "raw") value = JSON.parse(new TextDecoder().decode(content.value));
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error("the result is no JSON object");
  return value as JsonObject;
}
