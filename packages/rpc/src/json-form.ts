import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { TimestampSchema, ValueSchema, type Timestamp, type Value } from "@bufbuild/protobuf/wkt";
import type { ErrorDetail } from "@millrace/protocol";
import { messagesOf } from "./messages-of.ts";

/** Wrong values that are looked for; an answer has no room for more. */
const maxProblems = 100;

/** Finds what is wrong with a message, field by field. */
type Check = (message: Message, path: string, problems: ErrorDetail[]) => void;

// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the bounds of google.protobuf.Timestamp.
const firstSecond = -62_135_596_800n;
const lastSecond = 253_402_300_799n;
const nanosPerSecond = 1_000_000_000;
// Of the last second: everything behind the doors counts in milliseconds, and would round it up into the year 10000.
const lastNanos = 999_000_000;

const checks = new Map<DescMessage, Check | undefined>();

/**
 * Looks for what only protobuf's binary form can carry: times outside of the calendar, numbers that are none, values of no kind.
 * Nothing behind the doors could write them down.
 * @returns undefined where a message has no room for them
 */
export function createJsonFormCheck(desc: DescMessage): ((message: Message) => ErrorDetail[]) | undefined {
  const check = checkOf(desc);
  if (check === undefined) return undefined;
  return (message) => {
    const problems: ErrorDetail[] = [];
    check(message, "", problems);
    return problems;
  };
}

function checkOf(desc: DescMessage): Check | undefined {
  if (checks.has(desc)) return checks.get(desc);
  if (desc.typeName === TimestampSchema.typeName) return checkTime;
  const value = desc.typeName === ValueSchema.typeName;
  const outermost = !desc.typeName.startsWith("google.protobuf.");
  const parts: { readonly field: DescField; readonly inside: Check }[] = [];
  const check: Check = (message, path, problems) => {
    if (value) checkValue(message as Value, path, problems);
    for (const { field, inside } of parts) {
      for (const [name, one] of messagesOf(message, field)) {
        if (problems.length >= maxProblems) return;
        // Nearly all are; those of a large payload have no need of a place each.
        if (outermost && field.message?.typeName === ValueSchema.typeName && isSound(one as Value)) continue;
        inside(one, path === "" ? name : `${path}.${name}`, problems);
      }
    }
  };
  // A message may hold its own kind: until its fields are known it counts as one to look into.
  checks.set(desc, check);
  for (const field of desc.fields) {
    const inside = field.message === undefined ? undefined : checkOf(field.message);
    if (inside !== undefined) parts.push({ field, inside });
  }
  if (value || parts.length > 0) return check;
  checks.set(desc, undefined);
  return undefined;
}

const checkTime: Check = (message, path, problems) => {
  const { seconds, nanos } = message as Timestamp;
  const whole = seconds >= firstSecond && seconds <= lastSecond && nanos >= 0 && nanos < nanosPerSecond;
  if (!whole || (seconds === lastSecond && nanos > lastNanos)) {
    problems.push({ field: path, reason: "must be a time of the years 1 to 9999" });
  }
};

function isSound({ kind }: Value): boolean {
  switch (kind.case) {
    case undefined:
      return false;
    case "numberValue":
      return Number.isFinite(kind.value);
    case "structValue":
      return Object.values(kind.value.fields).every(isSound);
    case "listValue":
      return kind.value.values.every(isSound);
    default:
      return true;
  }
}

function checkValue({ kind }: Value, path: string, problems: ErrorDetail[]): void {
  if (kind.case === undefined || (kind.case === "numberValue" && !Number.isFinite(kind.value))) {
    problems.push({ field: path, reason: "must be a JSON value" });
  }
}
