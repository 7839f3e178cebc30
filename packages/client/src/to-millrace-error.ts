import { fromBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import {
  ViolationsSchema,
  type FieldPath,
  type Violations,
} from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import { Code, ConnectError } from "@connectrpc/connect";
import { errorTable, MillraceError, type ErrorCode, type ErrorDetail } from "@millrace/protocol";

const nameByCode = new Map<Code, ErrorCode>(
  (Object.keys(errorTable) as ErrorCode[]).map((name) => [errorTable[name].grpc as Code, name]),
);

function pathText(path: FieldPath | undefined): string {
  return (path?.elements ?? [])
    .map(({ fieldName, subscript }) => {
      if (subscript.case === undefined) return fieldName;
      return `${fieldName}[${subscript.case === "stringKey" ? JSON.stringify(subscript.value) : String(subscript.value)}]`;
    })
    .join(".");
}

/** The fields of a request that a server's refusal names. */
function errorDetails(error: ConnectError): ErrorDetail[] {
  const details: ErrorDetail[] = [];
  for (const detail of error.details) {
    if ("desc" in detail || detail.type !== ViolationsSchema.typeName) continue;
    let violations: Violations;
    try {
      violations = fromBinary(
        ViolationsSchema,
        typeof detail.value === "string" ? base64Decode(detail.value) : detail.value,
      );
    } catch {
      continue; // A detail that does not parse says nothing; code and message still stand.
    }
    for (const { field, message } of violations.violations) details.push({ field: pathText(field), reason: message });
  }
  return details;
}

/** System errors below an error, outermost first: `ECONNREFUSED`, … */
function systemCodes(reason: unknown): string[] {
  const codes: string[] = [];
  // A chain of causes is a few long; the bound keeps a cyclic one from hanging us.
  for (let error = reason, depth = 0; error instanceof Error && depth < 8; error = error.cause, depth++) {
    if ("code" in error && typeof error.code === "string") codes.push(error.code);
  }
  return codes;
}

const unreachable = new Map([
  ["ECONNREFUSED", "nothing listens there"],
  ["ENOTFOUND", "there is no such host"],
  ["EAI_AGAIN", "the host's name cannot be resolved"],
  ["ETIMEDOUT", "it does not answer"],
  ["EHOSTUNREACH", "there is no way to it"],
  ["ENETUNREACH", "there is no way to it"],
  ["ECONNRESET", "the connection broke"],
  ["EPIPE", "the connection broke"],
]);

/** OpenSSL's and Node's names for a certificate that is not taken. */
const untrusted = /^(CERT_|UNABLE_TO_|SELF_SIGNED_CERT_|DEPTH_ZERO_|ERR_TLS_CERT_|HOSTNAME_MISMATCH|INVALID_)/;
const notTls = /^(EPROTO$|ERR_SSL_)/;
/** Of llhttp, Node's HTTP parser. */
const notHttp = /^HPE_/;

/** Undefined when this error of the system does not say that the server cannot be reached. */
function whyUnreachable(code: string): string | undefined {
  if (untrusted.test(code)) return "its certificate is not trusted; NODE_EXTRA_CA_CERTS may name a file of authorities";
  if (notTls.test(code)) return "TLS does not come about";
  if (notHttp.test(code)) return "it does not speak HTTP/1.1";
  return unreachable.get(code);
}

/** What Connect says when an answer is none of its protocol: `HTTP 404`, another content type, or nothing. */
const foreign = /^(HTTP [1-5]\d\d|unsupported content type.*|)$/;

/**
 * What a call threw, as the one error class of the contract.
 * @param baseUrl named in the message when the server cannot be reached
 */
export function toMillraceError(reason: unknown, baseUrl: string): MillraceError {
  if (reason instanceof MillraceError) return reason;
  for (const code of systemCodes(reason)) {
    const why = whyUnreachable(code);
    if (why === undefined) continue;
    return new MillraceError("unavailable", `cannot reach ${baseUrl}: ${why} (${code})`, { cause: reason });
  }
  const error = ConnectError.from(reason);
  if (foreign.test(error.rawMessage)) {
    const what = error.rawMessage || "an answer without words";
    return new MillraceError("unavailable", `${baseUrl} does not answer as a Millrace server does: ${what}`, {
      cause: reason,
    });
  }
  if (isCutStream(error)) {
    return new MillraceError("unavailable", `${baseUrl} ended the stream before its end`, { cause: reason });
  }
  const retryAfter = Number(error.metadata.get("retry-after") ?? "");
  return new MillraceError(nameByCode.get(error.code) ?? "unknown", error.rawMessage, {
    details: errorDetails(error),
    cause: reason,
    ...(retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {}),
  });
}

/** connect-es says `invalid_argument` when a connection ends in the middle of a stream. */
function isCutStream(error: ConnectError): boolean {
  return error.code === Code.InvalidArgument && error.rawMessage === "protocol error: missing EndStreamResponse";
}
