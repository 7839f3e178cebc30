import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import {
  ViolationsSchema,
  type FieldPath,
  type FieldPathElementSchema,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { Code, ConnectError } from "@connectrpc/connect";
import { errorTable, MillraceError, type ErrorBody, type ErrorCode, type ErrorDetail } from "@millrace/protocol";

// Both directions of the closed set, from the one table.
const codeByName = new Map<string, Code>(Object.entries(errorTable).map(([name, row]) => [name, row.grpc as Code]));
const nameByCode = new Map<Code, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((name) => [errorTable[name].grpc as Code, name]),
);

// Errors quote what callers sent, which may be megabytes; metadata, where gRPC has them, hold some KiB.
const maxMessageChars = 2_048;
const maxFieldChars = 256;
const maxReasonChars = 1_024;
/** Of all fields and reasons together; those after are left out. */
const maxDetailChars = 4_096;

/** Well-formed: no protocol can carry half a surrogate pair. */
function shown(text: string, maxChars: number): string {
  return (text.length <= maxChars ? text : `${text.slice(0, maxChars - 1)}…`).toWellFormed();
}

function shownDetails(details: readonly ErrorDetail[]): ErrorDetail[] {
  const kept: ErrorDetail[] = [];
  let room = maxDetailChars;
  for (const detail of details) {
    const [field, reason] = [shown(detail.field, maxFieldChars), shown(detail.reason, maxReasonChars)];
    room -= field.length + reason.length;
    if (room < 0) break;
    kept.push({ field, reason });
  }
  return kept;
}

export function errorCodeName(code: Code): ErrorCode {
  return nameByCode.get(code) ?? "unknown";
}

export function errorCodeFromName(name: string): Code {
  return codeByName.get(name) ?? Code.Unknown;
}

/** The status that REST answers with. Connect has its own, fixed by its protocol. */
export function restStatus(code: Code): number {
  return errorTable[errorCodeName(code)].http;
}

function pathElements(field: string): MessageInitShape<typeof FieldPathElementSchema>[] {
  return field.split(".").map((part) => {
    const match = /^(.*)\[(\d{1,18})\]$/.exec(part);
    if (match === null) return { fieldName: part };
    return { fieldName: match[1] ?? "", subscript: { case: "index", value: BigInt(match[2] ?? 0) } };
  });
}

function pathText(path: FieldPath | undefined): string {
  if (path === undefined) return "";
  return path.elements
    .map(({ fieldName, subscript }) => {
      if (subscript.case === undefined) return fieldName;
      return `${fieldName}[${subscript.case === "stringKey" ? JSON.stringify(subscript.value) : String(subscript.value)}]`;
    })
    .join(".");
}

/** An error that names what is wrong with the first few fields; travels as buf.validate.Violations on every protocol. */
export function fieldError(
  code: Code,
  message: string,
  details: readonly ErrorDetail[],
  cause?: unknown,
): ConnectError {
  const error = new ConnectError(message, code, undefined, undefined, cause);
  if (details.length > 0) {
    error.details.push({
      desc: ViolationsSchema,
      value: create(ViolationsSchema, {
        violations: shownDetails(details).map(({ field, reason }) => ({
          field: { elements: pathElements(field) },
          message: reason,
        })),
      }),
    });
  }
  return error;
}

/**
 * What a method threw, as the error a caller sees. What is not meant for callers becomes `internal error`. Its words are few
 * and well-formed, whatever they quote.
 */
export function toConnectError(reason: unknown): ConnectError {
  const error = connectErrorOf(reason);
  const words = shown(error.rawMessage, maxMessageChars);
  if (words === error.rawMessage) return error;
  const short = new ConnectError(words, error.code, error.metadata, undefined, reason);
  short.details = error.details;
  return short;
}

function connectErrorOf(reason: unknown): ConnectError {
  if (reason instanceof ConnectError) return reason;
  if (reason instanceof MillraceError) {
    const error = fieldError(errorCodeFromName(reason.code), reason.message, reason.details, reason.cause);
    if (reason.retryAfterMs !== undefined) {
      error.metadata.set("retry-after", String(Math.max(1, Math.ceil(reason.retryAfterMs / 1000))));
    }
    return error;
  }
  if (reason instanceof DOMException && reason.name === "AbortError") {
    return new ConnectError("the call was aborted", Code.Canceled, undefined, undefined, reason);
  }
  return new ConnectError("internal error", Code.Internal, undefined, undefined, reason);
}

/** The fields that an error names, whether made here or received. */
export function errorDetails(error: ConnectError): ErrorDetail[] {
  const details: ErrorDetail[] = [];
  for (const detail of error.details) {
    let violations;
    if ("desc" in detail) {
      if (detail.desc.typeName !== ViolationsSchema.typeName) continue;
      violations = create(ViolationsSchema, detail.value);
    } else {
      if (detail.type !== ViolationsSchema.typeName) continue;
      try {
        violations = fromBinary(
          ViolationsSchema,
          typeof detail.value === "string" ? base64Decode(detail.value) : detail.value,
        );
      } catch {
        continue; // a detail that does not parse says nothing; code and message still stand
      }
    }
    for (const violation of violations.violations) {
      details.push({ field: pathText(violation.field), reason: violation.message });
    }
  }
  return details;
}

/** The body of a refusal by REST and request-reply. */
export function errorBody(error: ConnectError, requestId: string): ErrorBody {
  return {
    error: {
      code: errorCodeName(error.code),
      message: error.rawMessage,
      details: errorDetails(error),
      requestId,
    },
  };
}
