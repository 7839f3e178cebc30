import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { move } from "piscina";
import { isTooLarge, type UnpackAnswer, type UnpackWish } from "./unpack-wish.ts";

/** Of memory that is asked for, one after the other. */
const chunkSize = 1024 * 1024;

/** What the thread does that unpacks large messages. */
export function unpack({ name, bytes, maxBytes }: UnpackWish): UnpackAnswer {
  const unpackSync = name === "gzip" ? gunzipSync : brotliDecompressSync;
  try {
    const plain = unpackSync(bytes, { maxOutputLength: maxBytes, chunkSize });
    // Moved is the whole memory that it lies in.
    const exact = plain.byteLength === plain.buffer.byteLength ? plain : new Uint8Array(plain);
    return move(exact) as Uint8Array<ArrayBuffer>;
  } catch (error) {
    return isTooLarge(error) ? "too large" : "broken";
  }
}
