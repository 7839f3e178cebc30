import type { Message } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { mergeNonProtocolHeaders } from "@connectrpc/connect/protocol";
import {
  codeToHttpStatus,
  errorToJson,
  parseContentType as parseConnectType,
  parseTimeout as parseConnectTimeout,
} from "@connectrpc/connect/protocol-connect";
import {
  parseContentType as parseGrpcType,
  parseTimeout as parseGrpcTimeout,
  setTrailerStatus,
} from "@connectrpc/connect/protocol-grpc";
import {
  parseContentType as parseGrpcWebType,
  trailerFlag,
  trailerSerialize,
} from "@connectrpc/connect/protocol-grpc-web";
import { boundValues } from "./bound-values.ts";
import { CallContext } from "./call-context.ts";
import { tooLarge } from "./collect-body.ts";
import { createGate } from "./create-gate.ts";
import type { BodyWatch } from "./body-watch.ts";
import { compressionOf, type Compression } from "./compressions.ts";
import type { QueryMessage } from "./connect-get.ts";
import { addHeaders, type Exchange, type ReplyHeaders } from "./exchange.ts";
import type { Pipeline, PipelineMethod } from "./pipeline.ts";
import { toConnectError } from "./rpc-error.ts";

/** What a content type says about a unary call. */
export interface UnaryFormat {
  readonly protocol: "connect" | "grpc" | "grpc-web";
  readonly binary: boolean;
  /** gRPC-web in base64. */
  readonly text: boolean;
  readonly replyType: string;
}

const formats = new Map<string, UnaryFormat | undefined>();
const formatCacheSize = 256; // content types come from callers; the cache must not grow with their fantasy

/** The format that a unary request speaks, or undefined when it is none of the lean handler's. */
export function unaryFormat(contentType: string): UnaryFormat | undefined {
  if (formats.has(contentType)) return formats.get(contentType);
  const format = parseFormat(contentType);
  if (formats.size < formatCacheSize) formats.set(contentType, format);
  return format;
}

function parseFormat(contentType: string): UnaryFormat | undefined {
  const connect = parseConnectType(contentType);
  if (connect !== undefined && !connect.stream) {
    const replyType = connect.binary ? "application/proto" : "application/json";
    return { protocol: "connect", binary: connect.binary, text: false, replyType };
  }
  const grpc = parseGrpcType(contentType);
  if (grpc !== undefined) {
    const replyType = grpc.binary ? "application/grpc+proto" : "application/grpc+json";
    return { protocol: "grpc", binary: grpc.binary, text: false, replyType };
  }
  const web = parseGrpcWebType(contentType);
  if (web === undefined) return undefined;
  const replyType = `application/grpc-web${web.text ? "-text" : ""}+${web.binary ? "proto" : "json"}`;
  return { protocol: "grpc-web", binary: web.binary, text: web.text, replyType };
}

/** True when the lean handler serves this request; packed frames go to Connect's own. */
export function isLean(exchange: Exchange, format: UnaryFormat): boolean {
  const encoding = exchange.headers["grpc-encoding"];
  return format.protocol === "connect" || encoding === undefined || encoding === "identity";
}

const noBody = new Uint8Array(0);

export interface UnaryServing {
  readonly pipeline: Pipeline;
  readonly method: PipelineMethod;
  readonly format: UnaryFormat;
  readonly exchange: Exchange;
  /** Holds the message of a GET. */
  readonly query?: QueryMessage;
  /** Told of a message that is too large only when it is unpacked; of others the exchange tells. */
  readonly bodies: BodyWatch | undefined;
}

/** Serves one unary call of Connect, gRPC or gRPC-web. Answers as Connect's own handler does, without its cost. */
export function serveUnary({ pipeline, method, format, exchange, query, bodies }: UnaryServing): void {
  const { headers } = exchange;
  const connect = format.protocol === "connect";
  const timeoutHeader = headers[connect ? "connect-timeout-ms" : "grpc-timeout"];
  const timeout =
    typeof timeoutHeader === "string"
      ? (connect ? parseConnectTimeout : parseGrpcTimeout)(timeoutHeader, pipeline.limits.maxTimeoutMs)
      : undefined;
  const call = new CallContext({
    method: method.desc,
    protocolName: format.protocol,
    requestMethod: exchange.verb,
    url: exchange.path,
    headers,
    address: exchange.address,
    timeoutMs: timeout?.error === undefined ? timeout?.timeoutMs : undefined,
  });
  const answer = connect ? answerConnect : answerGrpc;
  const fail = (reason: unknown) => answer(exchange, method, format, call, undefined, toConnectError(reason));
  const succeed = (message: Message) => {
    try {
      answer(exchange, method, format, call, message, undefined);
    } catch (reason) {
      fail(reason);
    }
  };
  // A gRPC message has a prefix of five bytes; base64 makes four bytes of three, and padding.
  const framed = connect ? method.readMaxBytes : method.readMaxBytes + 5;
  const bound = format.text ? Math.ceil(framed / 3) * 4 + 4 : framed;
  const gate = createGate(pipeline, call);
  const serve = (body: Uint8Array, broken: ConnectError | undefined): void => {
    let result: Message | Promise<Message>;
    try {
      if (gate.refusal !== undefined) throw gate.refusal;
      if (timeout?.error !== undefined) throw timeout.error;
      const bytes = connect
        ? (query?.bytes() ?? wholeBody(body, broken, headers["content-length"], framed))
        : onlyEnvelope(body, broken, headers["content-length"], format.text, method.readMaxBytes);
      const invoke = (plain: Uint8Array) => {
        boundValues(method.desc.input, plain, format.binary);
        return pipeline.unary(method, method.input.decode(plain, format.binary), call);
      };
      const packed = connect
        ? compressionOf(
            query === undefined ? lineOf(headers["content-encoding"]) : query.compression,
            "accept-encoding",
          )
        : undefined;
      result = packed === undefined ? invoke(bytes) : unpack(packed, bytes, method.readMaxBytes, bodies).then(invoke);
    } catch (reason) {
      fail(reason);
      return;
    }
    if (typeof (result as Promise<Message>).then !== "function") {
      succeed(result as Message);
      return;
    }
    exchange.onGone(() => call.abort(new ConnectError("the caller went away", Code.Canceled)));
    (result as Promise<Message>).then(succeed, fail);
  };
  exchange.readBody(bound, serve, gate.ask);
}

async function unpack(
  compression: Compression,
  bytes: Uint8Array,
  maxBytes: number,
  bodies: BodyWatch | undefined,
): Promise<Uint8Array> {
  try {
    return await compression.decompress(bytes, maxBytes);
  } catch (reason) {
    if (reason instanceof ConnectError && reason.code === Code.ResourceExhausted) bodies?.tooLarge();
    throw reason;
  }
}

function lineOf(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(", ") : header;
}

function wholeBody(
  body: Uint8Array,
  broken: ConnectError | undefined,
  length: string | string[] | undefined,
  maxBytes: number,
): Uint8Array {
  if (broken === undefined) return body;
  // Where the caller has announced the size, the words give it.
  const known = broken.code === Code.ResourceExhausted && length !== undefined;
  throw known ? new ConnectError(tooLarge(maxBytes, Number(length)), Code.ResourceExhausted) : broken;
}

/** The one message of a gRPC body; the words for what is wrong are those of Connect's own handler. */
function onlyEnvelope(
  raw: Uint8Array,
  broken: ConnectError | undefined,
  length: string | string[] | undefined,
  text: boolean,
  readMaxBytes: number,
): Uint8Array {
  if (broken?.code === Code.ResourceExhausted && raw.byteLength === 0) {
    // Nothing was read of a body that is announced too large; without base64 its size is the message's and the prefix.
    throw new ConnectError(tooLarge(readMaxBytes, text ? undefined : Number(length) - 5), Code.ResourceExhausted);
  }
  const body = text ? decodeBase64Chunks(raw) : raw;
  const size = body.byteLength < 5 ? 0 : new DataView(body.buffer, body.byteOffset).getUint32(1);
  if (size > readMaxBytes) throw new ConnectError(tooLarge(readMaxBytes, size), Code.ResourceExhausted);
  if (broken !== undefined) throw broken;
  if (body.byteLength === 0) {
    throw new ConnectError("protocol error: missing input message for unary method", Code.Unimplemented);
  }
  if (body.byteLength < 5 + size) throw new ConnectError("protocol error: incomplete envelope", Code.InvalidArgument);
  if (((body[0] ?? 0) & 1) === 1) {
    throw new ConnectError("received compressed envelope, but do not know how to decompress", Code.Internal);
  }
  if (body.byteLength > 5 + size) {
    throw new ConnectError("protocol error: received extra input message for unary method", Code.Unimplemented);
  }
  return body.subarray(5);
}

// A client may flush base64 in pieces, each with its own padding.
function decodeBase64Chunks(raw: Uint8Array): Uint8Array {
  const text = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString("latin1");
  const parts = text.match(/[^=]+=*/g) ?? [];
  return parts.length === 1
    ? Buffer.from(text, "base64")
    : Buffer.concat(parts.map((part) => Buffer.from(part, "base64")));
}

function answerConnect(
  exchange: Exchange,
  method: PipelineMethod,
  format: UnaryFormat,
  call: CallContext,
  message: Message | undefined,
  error: ConnectError | undefined,
): void {
  const headers: ReplyHeaders = {};
  if (call.responseHeaderIfSet !== undefined) addHeaders(headers, call.responseHeaderIfSet);
  if (call.responseTrailerIfSet !== undefined) addHeaders(headers, call.responseTrailerIfSet, "trailer-");
  if (error === undefined && message !== undefined) {
    headers["content-type"] = format.replyType;
    const body = format.binary ? method.output.encode(message, true) : method.output.encodeJson(message);
    exchange.reply(200, headers, body);
    return;
  }
  const failure = error ?? new ConnectError("internal error", Code.Internal);
  addErrorMetadata(headers, failure);
  headers["content-type"] = "application/json";
  headers["x-request-id"] = call.requestId;
  exchange.reply(codeToHttpStatus(failure.code), headers, JSON.stringify(errorToJson(failure, undefined)));
}

function addErrorMetadata(headers: ReplyHeaders, error: ConnectError): void {
  const metadata = new Headers();
  mergeNonProtocolHeaders(metadata, error.metadata);
  addHeaders(headers, metadata);
}

function envelope(bytes: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(5 + bytes.byteLength);
  framed[0] = 0;
  framed.writeUInt32BE(bytes.byteLength, 1);
  framed.set(bytes, 5);
  return framed;
}

const okTrailers = new Headers({ "grpc-status": "0" });
const okTrailerFrame = trailerFrame(okTrailers);

function trailerFrame(trailers: Headers): Buffer {
  const frame = envelope(trailerSerialize(trailers));
  frame[0] = trailerFlag;
  return frame;
}

function answerGrpc(
  exchange: Exchange,
  method: PipelineMethod,
  format: UnaryFormat,
  call: CallContext,
  message: Message | undefined,
  error: ConnectError | undefined,
): void {
  const headers: ReplyHeaders = { "content-type": format.replyType };
  const body =
    error !== undefined || message === undefined ? noBody : envelope(method.output.encode(message, format.binary));
  let trailers = okTrailers;
  if (error !== undefined || call.responseTrailerIfSet !== undefined) {
    trailers = new Headers(call.responseTrailerIfSet);
    setTrailerStatus(trailers, error);
  }
  if (call.responseHeaderIfSet !== undefined) addHeaders(headers, call.responseHeaderIfSet);
  if (error !== undefined) headers["x-request-id"] = call.requestId;
  if (format.protocol === "grpc") {
    const lines: ReplyHeaders = {};
    addHeaders(lines, trailers);
    exchange.reply(200, headers, body, lines);
    return;
  }
  const frame = trailers === okTrailers ? okTrailerFrame : trailerFrame(trailers);
  const whole = body.byteLength === 0 ? frame : Buffer.concat([body, frame]);
  if (!format.text) {
    exchange.reply(200, headers, whole);
    return;
  }
  // Each frame is its own base64 piece, as grpc-web's servers do.
  const pieces = body.byteLength === 0 ? "" : Buffer.from(body).toString("base64");
  exchange.reply(200, headers, pieces + frame.toString("base64"));
}
