import { Host } from "@extism/as-pdk";

/**
 * Ends a call with a text: `return respond("…")` in an export. The PDK's own Host.outputString takes the string's
 * length for its size in bytes, and fails at the first letter beyond ASCII.
 */
export function respond(text: string): i32 {
  Host.output(Uint8Array.wrap(String.UTF8.encode(text)));
  return 0;
}
