import { fromBinary, fromJsonString, toJson, type JsonValue } from "@bufbuild/protobuf";
import { errorTable, type ErrorCode } from "@millrace/protocol";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import type { Answer } from "./send-request.ts";
import type { WireRequest } from "./wire-request.ts";

export interface Verdict {
  /** A code of the contract, `ok`, or the HTTP status of what speaks no protocol. */
  readonly code: string;
  /** What is wrong with the answer; undefined when nothing is. */
  readonly problem?: string;
  readonly message?: string;
  /** The first message, in JSON. */
  readonly json?: JsonValue;
}

/** These say that the server is at fault, or that a part of it is away. */
const faultCodes = new Set<string>([
  "unknown",
  "internal",
  "data_loss",
  "unimplemented",
  "unavailable",
  "deadline_exceeded",
]);
const codeNames = Object.keys(errorTable) as ErrorCode[];
const codeByNumber = new Map<number, ErrorCode>(codeNames.map((name) => [errorTable[name].grpc, name]));
// https://connectrpc.com/docs/protocol#error-codes, where it differs from REST's table.
const connectStatus: Partial<Record<ErrorCode, number>> = { failed_precondition: 400, out_of_range: 400 };

/** Looks whether an answer is one that the door may give. */
export function judgeAnswer(request: WireRequest, answer: Answer): Verdict {
  let verdict: Verdict;
  try {
    verdict = read(request, answer);
  } catch (reason) {
    return { code: String(answer.status), problem: `an answer that cannot be read: ${String(reason)}` };
  }
  if (verdict.problem !== undefined) return verdict;
  const { code } = verdict;
  if (faultCodes.has(code) && !request.demanded.includes(code as ErrorCode)) {
    // A verb that REST does not know at a path is refused by its status, and has no code of its own.
    if (!(request.door === "rest" && code === "unimplemented" && answer.status === 405)) {
      return { ...verdict, problem: `answered ${code}: ${verdict.message ?? ""}` };
    }
  }
  if (answer.status >= 500 && !(code === "unimplemented" || code === "deadline_exceeded")) {
    return { ...verdict, problem: `status ${answer.status}` };
  }
  return verdict;
}

function read(request: WireRequest, answer: Answer): Verdict {
  const type = String(answer.headers["content-type"] ?? "");
  if (request.verb === "HEAD" || request.verb === "OPTIONS") return { code: statusCode(answer.status) };
  if (type.startsWith("application/grpc-web")) return readFrames(request, answer, type.includes("-text"));
  if (type.startsWith("application/grpc")) return readGrpc(request, answer);
  if (type.startsWith("application/connect+")) return readFrames(request, answer, false);
  if (answer.status === 200) return readSuccess(request, answer, type);
  return readRefusal(answer);
}

function statusCode(status: number): string {
  return status < 300 ? "ok" : String(status);
}

function readSuccess(request: WireRequest, answer: Answer, type: string): Verdict {
  if (type.startsWith("text/event-stream")) {
    const text = answer.body.toString();
    const failure = /^event: error\ndata: (.*)$/m.exec(text)?.[1];
    return failure === undefined ? { code: "ok" } : readRestError(JSON.parse(failure) as JsonValue);
  }
  if (type.startsWith("application/x-ndjson")) {
    for (const line of answer.body
      .toString()
      .split("\n")
      .filter((one) => one !== "")
      .slice(0, answer.whole ? undefined : -1)) {
      const parsed = JSON.parse(line) as JsonValue;
      if (isObject(parsed) && "error" in parsed && "code" in (parsed["error"] as object)) return readRestError(parsed);
    }
    return { code: "ok" };
  }
  if (!answer.whole) return { code: "ok" };
  const { output } = request.method;
  const body = decompress(answer);
  // By another verb it is another method, or a page.
  if (request.door === "rest" && request.faults.length > 0) return { code: "ok" };
  if (type.startsWith("application/proto")) return { code: "ok", json: toJson(output, fromBinary(output, body)) };
  if (!type.startsWith("application/json")) return { code: "200", problem: `a page of type ${type}` };
  return { code: "ok", json: toJson(output, fromJsonString(output, body.toString())) };
}

function decompress(answer: Answer): Buffer {
  const encoding = answer.headers["content-encoding"];
  if (encoding === "gzip") return gunzipSync(answer.body);
  return encoding === "br" ? brotliDecompressSync(answer.body) : answer.body;
}

/** REST's shape or Connect's; whoever reads one of them must find all of it. */
function readRefusal(answer: Answer): Verdict {
  const body = JSON.parse(decompress(answer).toString()) as JsonValue;
  if (isObject(body) && "error" in body) {
    const verdict = readRestError(body);
    const expected = errorTable[verdict.code as ErrorCode]?.http;
    // 405 and 415 say more than their code does.
    if (verdict.problem === undefined && answer.status !== expected && answer.status !== 405 && answer.status !== 415) {
      return { ...verdict, problem: `${verdict.code} with status ${answer.status}` };
    }
    return verdict;
  }
  const verdict = readConnectError(body);
  const name = verdict.code as ErrorCode;
  const expected = connectStatus[name] ?? errorTable[name]?.http;
  if (verdict.problem === undefined && answer.status !== expected && answer.status !== 405 && answer.status !== 415) {
    return { ...verdict, problem: `${verdict.code} with status ${answer.status}` };
  }
  return verdict;
}

function readRestError(body: JsonValue): Verdict {
  const error = isObject(body) ? body["error"] : undefined;
  if (!isObject(error)) return { code: "?", problem: "an error without its body" };
  const { code, message, details, requestId } = error;
  const right =
    Object.keys(error).toSorted().join() === "code,details,message,requestId" &&
    codeNames.includes(code as ErrorCode) &&
    typeof message === "string" &&
    typeof requestId === "string" &&
    Array.isArray(details) &&
    details.every((detail) => isObject(detail) && Object.keys(detail).toSorted().join() === "field,reason");
  const verdict = { code: String(code), message: String(message) };
  return right ? verdict : { ...verdict, problem: `an error of another shape: ${JSON.stringify(body).slice(0, 500)}` };
}

function readConnectError(body: JsonValue): Verdict {
  if (!isObject(body)) return { code: "?", problem: "an error without its body" };
  const { code, message } = body;
  const verdict = { code: String(code), message: String(message) };
  const right =
    codeNames.includes(code as ErrorCode) &&
    Object.keys(body).every((key) => ["code", "message", "details"].includes(key));
  return right ? verdict : { ...verdict, problem: `an error of another shape: ${JSON.stringify(body).slice(0, 500)}` };
}

function readGrpc(request: WireRequest, answer: Answer): Verdict {
  const status = answer.trailers["grpc-status"] ?? answer.headers["grpc-status"];
  if (answer.status !== 200) return { code: String(answer.status), problem: `gRPC with status ${answer.status}` };
  if (status === undefined) {
    return answer.whole ? { code: "?", problem: "no grpc-status" } : soFar(firstMessage(request, answer.body, answer));
  }
  return {
    ...codeOf(Number(status), String(answer.trailers["grpc-message"] ?? "")),
    ...firstMessage(request, answer.body, answer),
  };
}

/** Connect's streams and gRPC-web: the last frame says how it ended. */
function readFrames(request: WireRequest, answer: Answer, text: boolean): Verdict {
  if (answer.status !== 200) return { code: String(answer.status), problem: `frames with status ${answer.status}` };
  const body = text ? decodePieces(answer.body.toString()) : answer.body;
  const first = firstMessage(request, body, answer);
  for (const { flags, bytes: packed } of frames(body)) {
    const bytes = unpack(flags, packed, answer);
    if ((flags & 0x80) !== 0) {
      const [, status = "none"] = /grpc-status:\s*(\d+)/i.exec(bytes.toString()) ?? [];
      const [, message = ""] = /grpc-message:\s*(.*)/i.exec(bytes.toString()) ?? [];
      return { ...codeOf(Number(status), message), ...first };
    }
    if ((flags & 0x02) !== 0) {
      const end = JSON.parse(bytes.toString()) as { error?: JsonValue };
      return end.error === undefined ? { code: "ok", ...first } : readConnectError(end.error);
    }
  }
  const inHeaders = answer.headers["grpc-status"];
  if (inHeaders !== undefined) return codeOf(Number(inHeaders), String(answer.headers["grpc-message"] ?? ""));
  return answer.whole ? { code: "?", problem: "no last frame" } : soFar(first);
}

/** Of an answer that was not waited for. */
function soFar(first: Pick<Verdict, "json">): Verdict {
  return first.json === undefined ? { code: "abandoned" } : { code: "ok", ...first };
}

function codeOf(number: number, message: string): Verdict {
  if (number === 0) return { code: "ok" };
  const code = codeByNumber.get(number);
  return code === undefined
    ? { code: "?", problem: `grpc-status ${number}` }
    : { code, message: decodeURIComponent(message) };
}

function firstMessage(request: WireRequest, body: Buffer, answer: Answer): Pick<Verdict, "json"> {
  for (const { flags, bytes } of frames(body)) {
    if ((flags & ~1) !== 0) continue;
    const plain = unpack(flags, bytes, answer);
    const { output } = request.method;
    const binary = !String(answer.headers["content-type"]).endsWith("+json");
    const message = binary ? fromBinary(output, plain) : fromJsonString(output, plain.toString());
    return { json: toJson(output, message) };
  }
  return {};
}

function unpack(flags: number, bytes: Buffer, { headers }: Answer): Buffer {
  if ((flags & 1) === 0) return bytes;
  const encoding = headers["grpc-encoding"] ?? headers["connect-content-encoding"];
  return encoding === "br" ? brotliDecompressSync(bytes) : gunzipSync(bytes);
}

function* frames(body: Buffer): Iterable<{ flags: number; bytes: Buffer }> {
  for (let at = 0; at + 5 <= body.byteLength;) {
    const size = body.readUInt32BE(at + 1);
    if (at + 5 + size > body.byteLength) return;
    yield { flags: body[at] ?? 0, bytes: body.subarray(at + 5, at + 5 + size) };
    at += 5 + size;
  }
}

function decodePieces(text: string): Buffer {
  return Buffer.concat((text.match(/[^=]+=*/g) ?? []).map((piece) => Buffer.from(piece, "base64")));
}

function isObject(value: JsonValue | undefined): value is Record<string, JsonValue> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
