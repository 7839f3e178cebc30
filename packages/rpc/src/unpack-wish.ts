/** To the thread that unpacks. */
export interface UnpackWish {
  readonly name: "gzip" | "br";
  readonly bytes: Uint8Array;
  /** Of the plain message. */
  readonly maxBytes: number;
}

/** From the thread; an error would arrive without its code. */
export type UnpackAnswer = Uint8Array<ArrayBuffer> | "too large" | "broken";

/** Of what `node:zlib` throws: the plain bytes are more than allowed. */
export function isTooLarge(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
}
