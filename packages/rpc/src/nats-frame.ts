import { base64Decode, base64Encode } from "@bufbuild/protobuf/wire";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { errorCodeFromName, errorCodeName } from "./rpc-error.ts";

/**
 * What two Millrace processes say to each other on `rpc.gateway.>` and on reply subjects:
 *
 *     byte 0     0x01, which no protobuf message and no JSON text starts with
 *     byte 1     kind
 *     bytes 2-5  length of the meta part, big endian
 *     meta       JSON, often absent
 *     payload    protobuf
 *
 * Bare clients send plain protobuf or JSON on `rpc.<service>.<Method>` instead, and get the same back.
 */
export const frameMagic = 0x01;
export const frameHeadBytes = 6;

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
  /** Still here. */
  ping: 9,
} as const;

export type FrameKind = (typeof frameKinds)[keyof typeof frameKinds];

export interface FrameMeta {
  readonly timeoutMs?: number;
  readonly headers?: readonly (readonly [string, string])[];
  readonly trailers?: readonly (readonly [string, string])[];
  /** Where frames to a stream's server go. */
  readonly subject?: string;
  readonly count?: number;
  readonly error?: WireError;
}

export interface WireError {
  readonly code: string;
  readonly message: string;
  readonly details: readonly { readonly type: string; readonly value: string }[];
  readonly metadata: readonly (readonly [string, string])[];
}

export interface Frame {
  readonly kind: number;
  readonly meta: FrameMeta;
  readonly payload: Uint8Array;
}

const noBytes = new Uint8Array(0);
const noMeta: FrameMeta = {};
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function encodeFrame(kind: FrameKind, meta?: FrameMeta, payload: Uint8Array = noBytes): Uint8Array {
  const metaBytes = meta === undefined ? noBytes : encoder.encode(JSON.stringify(meta));
  const frame = new Uint8Array(frameHeadBytes + metaBytes.byteLength + payload.byteLength);
  frame[0] = frameMagic;
  frame[1] = kind;
  if (metaBytes.byteLength > 0) {
    new DataView(frame.buffer).setUint32(2, metaBytes.byteLength);
    frame.set(metaBytes, frameHeadBytes);
  }
  frame.set(payload, frameHeadBytes + metaBytes.byteLength);
  return frame;
}

/** @throws ConnectError internal for what is not a whole frame */
export function decodeFrame(data: Uint8Array): Frame {
  if (data[0] !== frameMagic || data.byteLength < frameHeadBytes) {
    throw new ConnectError("malformed frame", Code.Internal);
  }
  const metaLength = ((data[2] ?? 0) << 24) | ((data[3] ?? 0) << 16) | ((data[4] ?? 0) << 8) | (data[5] ?? 0);
  const start = frameHeadBytes + metaLength;
  if (metaLength < 0 || start > data.byteLength) throw new ConnectError("malformed frame", Code.Internal);
  if (metaLength === 0) return { kind: data[1] ?? -1, meta: noMeta, payload: data.subarray(frameHeadBytes) };
  let meta: FrameMeta;
  try {
    meta = JSON.parse(decoder.decode(data.subarray(frameHeadBytes, start))) as FrameMeta;
  } catch (reason) {
    throw new ConnectError("malformed frame", Code.Internal, undefined, undefined, reason);
  }
  return { kind: data[1] ?? -1, meta, payload: data.subarray(start) };
}

export function headerPairs(headers: Headers | undefined): (readonly [string, string])[] | undefined {
  if (headers === undefined) return undefined;
  const pairs = [...headers];
  return pairs.length === 0 ? undefined : pairs;
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
