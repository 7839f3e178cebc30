/** With headers, of which JetStream takes 64 KiB, within the bound on a message: 1 MiB where nobody changed it. */
const mostPayloadBytes = 512 << 10;
const decoder = new TextDecoder();

/**
 * What the DEAD event of a job that cannot be read repeats of it. The job's own message may be as large as a message can be: an
 * event with all of it could never be stored. A large payload is in the republished copy alone, which is where the row has it from.
 */
export function poisonedContent(
  payload: Uint8Array,
  headerBytes: Uint8Array,
): { readonly payload: Uint8Array; readonly rawHeaders: string } {
  const fits = payload.length <= mostPayloadBytes;
  return { payload: fits ? payload : new Uint8Array(0), rawHeaders: decoder.decode(headerBytes) };
}
