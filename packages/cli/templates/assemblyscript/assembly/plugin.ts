import { Host, Memory } from "@extism/as-pdk";
import { error_set } from "@extism/as-pdk/lib/env";

/** Ends a call with a text: `return respond("…")` in an export. */
export function respond(text: string): i32 {
  // The PDK's own outputString takes the string's length for its size in bytes.
  Host.output(Uint8Array.wrap(String.UTF8.encode(text)));
  return 0;
}

/** Ends a call as failed: `return fail("…")` in an export. */
export function fail(message: string): i32 {
  error_set(Memory.allocateString(message).offset);
  return 1;
}

/** What a failed assertion or an index out of bounds does; asconfig.json names it. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = message === null ? "aborted" : message;
  fail(file === null ? text : text + " at " + file + ":" + line.toString() + ":" + column.toString());
  unreachable();
}
