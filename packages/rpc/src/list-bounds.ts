import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { Ignore } from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import type { ErrorDetail } from "@millrace/protocol";
import { fieldRules } from "./field-rules.ts";
import { messagesOf } from "./messages-of.ts";

type Check = (message: Message, path: string, problems: ErrorDetail[]) => void;

const checks = new Map<DescMessage, Check>();

/**
 * Looks for lists that are longer than their rules allow. The validator looks at every entry of such a list too, some
 * microseconds each, which are seconds for what fits in a body.
 * @returns undefined where a message has no such lists
 */
export function createListBoundsCheck(desc: DescMessage): ((message: Message) => ErrorDetail[]) | undefined {
  if (!hasBounds(desc)) return undefined;
  const check = checkOf(desc);
  return (message) => {
    const problems: ErrorDetail[] = [];
    check(message, "", problems);
    return problems;
  };
}

/** Whether a list with a bound can be reached. */
function hasBounds(desc: DescMessage, seen = new Set<DescMessage>()): boolean {
  if (seen.has(desc)) return false;
  seen.add(desc);
  return desc.fields.some(
    (field) => mostOf(field) !== undefined || (isLookedInto(field) && hasBounds(field.message, seen)),
  );
}

function checkOf(desc: DescMessage): Check {
  const known = checks.get(desc);
  if (known !== undefined) return known;
  const bounded: { readonly field: DescField; readonly most: number }[] = [];
  const parts: { readonly field: DescField; readonly inside: Check }[] = [];
  const check: Check = (message, path, problems) => {
    const found = problems.length;
    for (const { field, most } of bounded) {
      const list = (message as unknown as Readonly<Record<string, readonly unknown[]>>)[field.localName] ?? [];
      if (list.length > most) {
        problems.push({ field: placeOf(path, field.name), reason: `must contain no more than ${most} item(s)` });
      }
    }
    if (problems.length > found) return;
    for (const { field, inside } of parts) {
      for (const [name, one] of messagesOf(message, field)) inside(one, placeOf(path, name), problems);
    }
  };
  // A message may hold its own kind.
  checks.set(desc, check);
  for (const field of desc.fields) {
    const most = mostOf(field);
    if (most !== undefined) bounded.push({ field, most });
    if (isLookedInto(field) && hasBounds(field.message)) parts.push({ field, inside: checkOf(field.message) });
  }
  return check;
}

/** The contract may leave what is inside to somebody else. */
function isLookedInto(field: DescField): field is DescField & { readonly message: DescMessage } {
  const type = fieldRules(field)?.type;
  const left = type?.case === "repeated" && type.value.items?.ignore === Ignore.ALWAYS;
  return field.message !== undefined && !left;
}

function mostOf(field: DescField): number | undefined {
  const type = fieldRules(field)?.type;
  if (type?.case !== "repeated") return undefined;
  const { maxItems } = type.value;
  return maxItems === 0n ? undefined : Number(maxItems);
}

function placeOf(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
