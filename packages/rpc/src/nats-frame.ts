import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { errorCodeFromName, errorCodeName } from "./rpc-error.ts";

/**
 * What two Millrace processes say to each other on `rpc.gateway.>` and on reply subjects:
 *
 *     byte 0     0x02, which no protobuf message and no JSON text starts with
 *     byte 1     kind
 *     bytes 2-5  length of the meta part, big endian
 *     bytes 6-9  number of the frame, big endian: from 1 for each side of a stream, 0 for what belongs to none
 *     meta       JSON, often absent
 *     payload    protobuf
 *
 * A broker forgets frames when a connection breaks. A stream whose next frame has another number than expected is over.
 *
 * Bare clients send plain protobuf or JSON on `rpc.<service>.<Method>` instead, and get the same back.
 */
export const frameMagic = 0x02;
/** Of frames without numbers: while processes are replaced one by one, others may answer. */
const formerMagic = 0x01;
export const frameHeadBytes = 10;

export const frameKinds = {
  /** A unary call, whole. */
  call: 0,
  /** Opens a stream. */
  open: 1,
  /** One message, or the last piece of one. */
  message: 2,
  /** A piece of a message; more follow. */
  piece: 3,
  /** No more messages from this side. */
  end: 4,
  /** The call has failed; meta says how. */
  error: 5,
  /** The other side may send `count` more frames. */
  credit: 6,
  /** The caller is gone. */
  cancel: 7,
  /** The stream is open; meta says where its frames go. */
  accepted: 8,
  /** Which calls does this server still have? And its answer. */
  probe: 9,
  /** A unary call takes longer, and a server has it; meta says which. */
  taken: 10,
} as const;

export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

export interface FrameMeta {
  readonly timeoutMs?: number;
  readonly headers?: readonly (readonly [string, string])[];
  readonly trailers?: readonly (readonly [string, string])[];
  /** Where frames to a stream's server go. */
  readonly subject?: string;
  /** Where a server is asked which calls it has. */
  readonly server?: string;
  readonly count?: number;
  readonly error?: WireError;
  readonly probe?: Probe;
  readonly report?: ProbeReport;
}

/** What a caller believes that a server has, by the ids of the caller. */
export interface Probe {
  readonly calls: readonly string[];
  readonly streams: readonly ProbedStream[];
}

/** With the server's own id, and how many frames the caller has sent. */
export type ProbedStream = readonly [id: string, serverId: string, sent: number];

export interface ProbeReport {
  /** What the server does not have: it has ended, and its end is lost unless it came before this report. */
  readonly gone: readonly string[];
  /** How many frames the server has sent. */
  readonly streams: readonly (readonly [id: string, sent: number])[];
}

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly details: readonly { readonly type: string; readonly value: string }[];
  readonly metadata: readonly (readonly [string, string])[];
}

export interface Frame {
  readonly kind: number;
  readonly number: number;
  readonly meta: FrameMeta;
  readonly payload: Uint8Array;
}

const noBytes = new Uint8Array(0);
const noMeta: FrameMeta = {};
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeFrame(kind: FrameKind, meta?: FrameMeta, payload: Uint8Array = noBytes, number = 0): Uint8Array {
  const metaBytes = meta === undefined ? noBytes : encoder.encode(JSON.stringify(meta));
  const frame = new Uint8Array(frameHeadBytes + metaBytes.byteLength + payload.byteLength);
  frame[0] = frameMagic;
  frame[1] = kind;
  if (metaBytes.byteLength > 0) {
    writeUint32(frame, 2, metaBytes.byteLength);
    frame.set(metaBytes, frameHeadBytes);
  }
  if (number > 0) writeUint32(frame, 6, number);
  frame.set(payload, frameHeadBytes + metaBytes.byteLength);
  return frame;
}

/** @throws ConnectError internal for what is not a whole frame, unavailable for one of another version of Millrace */
export function decodeFrame(data: Uint8Array): Frame {
  if (data[0] === formerMagic) throw new ConnectError("frames of another version", Code.Unavailable);
  if (data[0] !== frameMagic || data.byteLength < frameHeadBytes) {
    throw new ConnectError("malformed frame", Code.Internal);
  }
  const metaLength = readUint32(data, 2);
  const number = readUint32(data, 6);
  const start = frameHeadBytes + metaLength;
  if (start > data.byteLength) throw new ConnectError("malformed frame", Code.Internal);
  const kind = data[1] ?? -1;
  if (metaLength === 0) return { kind, number, meta: noMeta, payload: data.subarray(frameHeadBytes) };
  let meta: FrameMeta;
  try {
    meta = JSON.parse(decoder.decode(data.subarray(frameHeadBytes, start))) as FrameMeta;
  } catch (reason) {
    throw new ConnectError("malformed frame", Code.Internal, undefined, undefined, reason);
  }
  return { kind, number, meta, payload: data.subarray(start) };
}

// A DataView for each frame costs more than the frame.
function writeUint32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

function readUint32(from: Uint8Array, at: number): number {
  return (
    (((from[at] ?? 0) << 24) | ((from[at + 1] ?? 0) << 16) | ((from[at + 2] ?? 0) << 8) | (from[at + 3] ?? 0)) >>> 0
  );
}

export function headerPairs(headers: Headers | undefined): (readonly [string, string])[] | undefined {
  if (headers === undefined) return undefined;
  const pairs = [...headers];
  return pairs.length === 0 ? undefined : pairs;
}

/** What a call says besides its message. */
export function callMeta(timeoutMs: number | undefined, header: HeadersInit | undefined): FrameMeta | undefined {
  const headers = header === undefined ? undefined : headerPairs(new Headers(header));
  if (timeoutMs === undefined && headers === undefined) return undefined;
  return {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(headers === undefined ? {} : { headers }),
  };
}

export function setHeaders(into: Headers, pairs: FrameMeta["headers"]): void {
  if (pairs === undefined) return;
  for (const [name, value] of pairs) {
    if (name === "set-cookie") into.append(name, value);
    else into.set(name, value);
  }
}

export function toWireError(error: ConnectError): WireError {
  return {
    code: errorCodeName(error.code),
    message: error.rawMessage,
    details: error.details.map((detail) =>
      "desc" in detail
        ? {
            type: detail.desc.typeName,
            value: base64Encode(toBinary(detail.desc, create(detail.desc, detail.value)), "std_raw"),
          }
        : { type: detail.type, value: base64Encode(detail.value, "std_raw") },
    ),
    metadata: [...error.metadata],
  };
}

export function fromWireError(wire: WireError | undefined): ConnectError {
  if (wire === undefined) return new ConnectError("the call has failed", Code.Unknown);
  const metadata = new Headers(wire.metadata.map(([name, value]): [string, string] => [name, value]));
  const error = new ConnectError(wire.message, errorCodeFromName(wire.code), metadata);
  error.details = wire.details.map(({ type, value }) => ({ type, value: base64Decode(value) }));
  return error;
}
