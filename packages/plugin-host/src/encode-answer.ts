import type { HostAnswer } from "./host-calls.ts";

const HEAD_BYTES = 4;

/** A HostAnswer as bytes: the length of what follows as u32 LE, the answer without its body as JSON, the body. */
export function encodeAnswer(answer: HostAnswer): Uint8Array {
  const { body, ...head } = { body: undefined, ...answer };
  const json = new TextEncoder().encode(JSON.stringify({ ...head, hasBody: body !== undefined }));
  const bytes = new Uint8Array(HEAD_BYTES + json.length + (body?.length ?? 0));
  new DataView(bytes.buffer).setUint32(0, json.length, true);
  bytes.set(json, HEAD_BYTES);
  if (body) bytes.set(body, HEAD_BYTES + json.length);
  return bytes;
}

/** @throws SyntaxError or RangeError for bytes that encodeAnswer did not write */
export function decodeAnswer(bytes: Uint8Array): HostAnswer {
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(0, true);
  const json = new TextDecoder().decode(bytes.subarray(HEAD_BYTES, HEAD_BYTES + length));
  const { hasBody, ...head } = JSON.parse(json) as HostAnswer & { readonly hasBody: boolean };
  return hasBody && !head.failure ? { ...head, body: bytes.slice(HEAD_BYTES + length) } : head;
}
