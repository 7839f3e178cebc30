import { frameKinds } from "./nats-frame.ts";

/** Cuts a message to what fits into one NATS message each. */
export function* piecesOf(
  bytes: Uint8Array,
  pieceBytes: number,
): Iterable<[kind: typeof frameKinds.message | typeof frameKinds.piece, bytes: Uint8Array]> {
  let from = 0;
  for (; bytes.byteLength - from > pieceBytes; from += pieceBytes) {
    yield [frameKinds.piece, bytes.subarray(from, from + pieceBytes)];
  }
  yield [frameKinds.message, from === 0 ? bytes : bytes.subarray(from)];
}
