import { Memory } from "@extism/as-pdk";
import { error_set } from "@extism/as-pdk/lib/env";

/** Ends a call as failed: `return fail("…")` in an export. */
export function fail(message: string): i32 {
  error_set(Memory.allocateString(message).offset);
  return 1;
}

/** Stands in for AssemblyScript's `env.abort`, which no host of plugins offers: build with `--use abort=…/abort`. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = message === null ? "aborted" : message;
  const place = file === null ? "" : " at " + file + ":" + line.toString() + ":" + column.toString();
  fail(text + place);
  unreachable();
}
