import { create, fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { GetJobRequestSchema, ListJobsRequestSchema, SubmitJobsRequestSchema } from "@millrace/protocol";
import { expect, test } from "vitest";
import { createJsonFormCheck } from "./json-form.ts";

const problems = createJsonFormCheck(SubmitJobsRequestSchema);

function payload(value: ReturnType<typeof create<typeof ValueSchema>>) {
  return create(SubmitJobsRequestSchema, { jobs: [{ type: "t" }, { payload: { content: { case: "json", value } } }] });
}

test("a message without room for what JSON cannot say is not looked at", () => {
  expect(createJsonFormCheck(GetJobRequestSchema)).toBeUndefined();
});

test("any JSON, and any time of the calendar, is taken", () => {
  expect(problems?.(payload(fromJson(ValueSchema, { a: [1, null, { b: "x" }], c: [] })))).toEqual([]);
  const times = create(ListJobsRequestSchema, {
    submittedAfter: { seconds: -62_135_596_800n },
    submittedBefore: { seconds: 253_402_300_799n, nanos: 999_000_000 },
  });
  expect(createJsonFormCheck(ListJobsRequestSchema)?.(times)).toEqual([]);
});

test("numbers that are none, and values of no kind, are named with their place", () => {
  const where = "jobs[1].payload.json";
  const nan = create(ValueSchema, { kind: { case: "numberValue", value: Number.NaN } });
  expect(problems?.(payload(nan))).toEqual([{ field: where, reason: "must be a JSON value" }]);
  expect(problems?.(payload(create(ValueSchema)))).toHaveLength(1);
  const deep = create(ValueSchema, { kind: { case: "listValue", value: { values: [nan] } } });
  expect(problems?.(payload(deep))?.[0]?.field).toBe(`${where}.list_value.values[0]`);
});

test("times outside of the calendar are named", () => {
  const check = createJsonFormCheck(ListJobsRequestSchema);
  for (const submittedAfter of [
    { seconds: 253_402_300_800n },
    { seconds: -(2n ** 62n) },
    { seconds: 253_402_300_799n, nanos: 999_999_999 },
    { nanos: -1 },
    { nanos: 1e9 },
  ]) {
    expect(check?.(create(ListJobsRequestSchema, { submittedAfter }))).toMatchObject([{ field: "submitted_after" }]);
  }
});
