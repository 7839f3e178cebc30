import { hasExtension, type DescMessage, type Message } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import * as rules from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorDetail } from "@millrace/protocol";
import { createJsonFormCheck } from "./json-form.ts";
import { createListBoundsCheck } from "./list-bounds.ts";
import { fieldError } from "./rpc-error.ts";

const validator = createValidator();
const ruled = new Map<DescMessage, boolean>();

// True when the message or anything reachable from it carries a rule; messages without any skip the validator.
function hasRules(desc: DescMessage, seen = new Set<DescMessage>()): boolean {
  const known = ruled.get(desc);
  if (known !== undefined) return known;
  if (seen.has(desc)) return false;
  seen.add(desc);
  const messageOptions = desc.proto.options;
  if (messageOptions !== undefined && hasExtension(messageOptions, rules.message)) return true;
  for (const oneof of desc.oneofs) {
    const options = oneof.proto.options;
    if (options !== undefined && hasExtension(options, rules.oneof)) return true;
  }
  return desc.fields.some((field) => {
    const options = field.proto.options;
    if (options !== undefined && hasExtension(options, rules.field)) return true;
    return field.message !== undefined && hasRules(field.message, seen);
  });
}

/** Compiles the rules of a message once; the returned function throws `invalid_argument` naming every broken field. */
export function createMessageValidator(desc: DescMessage): ((message: Message) => void) | undefined {
  const keepsRules = createRuleCheck(desc);
  const hasNoJson = createJsonFormCheck(desc);
  if (hasNoJson === undefined) return keepsRules;
  return (message) => {
    const details = hasNoJson(message);
    if (details.length > 0) throw fieldError(Code.InvalidArgument, wordsOf(details), details);
    keepsRules?.(message);
  };
}

function createRuleCheck(desc: DescMessage): ((message: Message) => void) | undefined {
  const known = hasRules(desc);
  ruled.set(desc, known);
  if (!known) return undefined;
  const findLong = createListBoundsCheck(desc);
  return (message) => {
    const long = findLong?.(message) ?? [];
    if (long.length > 0) throw fieldError(Code.InvalidArgument, wordsOf(long), long);
    const result = validator.validate(desc, message);
    if (result.kind === "valid") return;
    if (result.kind === "error") {
      throw new ConnectError("validation rules are broken", Code.Internal, undefined, undefined, result.error);
    }
    const details = result.violations.map((violation) => ({
      field: pathToString(violation.field),
      reason: violation.message,
    }));
    throw fieldError(Code.InvalidArgument, wordsOf(details), details, result.error);
  };
}

function wordsOf(details: readonly ErrorDetail[]): string {
  return details.map(({ field, reason }) => (field === "" ? reason : `${field}: ${reason}`)).join("; ");
}
