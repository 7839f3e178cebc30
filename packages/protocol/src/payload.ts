import { create, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { PayloadSchema, type Payload } from "./gen/millrace/jobs/v1/job_pb.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const empty = new Uint8Array(0);

/** What travels on the wire: bytes, and their media type ("" when nobody named one). */
export interface WirePayload {
  readonly bytes: Uint8Array;
  readonly contentType: string;
}

/** The bytes a handler sees for a Payload of the contract. */
export function toWirePayload(payload: Payload | undefined): WirePayload {
  if (payload === undefined) return { bytes: empty, contentType: "" };
  const { content, contentType } = payload;
  switch (content.case) {
    case "json":
      return {
        bytes: encoder.encode(toJsonString(ValueSchema, content.value)),
        contentType: contentType || "application/json",
      };
    case "text":
      return { bytes: encoder.encode(content.value), contentType: contentType || "text/plain; charset=utf-8" };
    case "raw":
      return { bytes: content.value, contentType: contentType || "application/octet-stream" };
    case undefined:
      return { bytes: empty, contentType };
  }
}

/**
 * The Payload that shows these bytes best: JSON where the type says so or, unnamed, where they are a JSON document;
 * text where they are UTF-8; else raw.
 */
export function fromWirePayload(bytes: Uint8Array, contentType: string): Payload {
  if (bytes.length === 0) return create(PayloadSchema, { contentType });
  const first = bytes[0];
  const looksJson = contentType === "" && (first === 0x7b || first === 0x5b);
  if (/^application\/(?:[\w.+-]+\+)?json\b/.test(contentType) || looksJson) {
    try {
      const value = fromJsonString(ValueSchema, decoder.decode(bytes));
      return create(PayloadSchema, {
        content: { case: "json", value },
        contentType: contentType || "application/json",
      });
    } catch {
      // Not JSON whatever the type says: shown as what it is.
    }
  }
  if (contentType === "" || contentType.startsWith("text/")) {
    try {
      return create(PayloadSchema, { content: { case: "text", value: decoder.decode(bytes) }, contentType });
    } catch {
      // Not UTF-8.
    }
  }
  return create(PayloadSchema, { content: { case: "raw", value: bytes }, contentType });
}
