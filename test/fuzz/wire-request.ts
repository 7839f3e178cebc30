import type { DescMethod } from "@bufbuild/protobuf";
import type { ErrorCode } from "@millrace/protocol";

export const doors = ["rest", "connect", "grpc", "grpc-web"] as const;
export type Door = (typeof doors)[number];

/** What a call carries, before a door gives it a form: protobuf's JSON texts or bytes, one for each message. */
export interface Content {
  readonly messages: readonly (Uint8Array | string)[];
  readonly binary: boolean;
  /** Of the first message before anything was made wrong in it: REST takes paths and queries from it. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** One request, to the byte. */
export interface WireRequest {
  readonly door: Door;
  readonly method: DescMethod;
  readonly http: 1 | 2;
  readonly verb: string;
  /** With the query. */
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array;
  /** Answers in protobuf's binary form. */
  readonly binary: boolean;
  /** What was made wrong on purpose. */
  readonly faults: readonly string[];
  /** Codes that the protocol demands for such a request, though they look like mistakes of the server. */
  readonly demanded: readonly ErrorCode[];
}

/** The same request once more, for a report. */
export function describeRequest({ door, http, verb, path, headers, body, faults }: WireRequest): string {
  const shown = Buffer.from(body.subarray(0, 4096)).toString("base64");
  return JSON.stringify({ door, http, verb, path, headers, bodyBase64: shown, bodyBytes: body.byteLength, faults });
}
