import { MillraceError } from "@millrace/protocol";
import pg from "pg";

/** How long a caller may wait before it asks a database that is away again. */
const retryAfterMs = 1000;

// SQLSTATE classes (https://www.postgresql.org/docs/current/errcodes-appendix.html): connection, resources, operator
// intervention (shut-down, cannot connect now, a statement cancelled for its time), system; a lock that somebody holds; and
// read-only, which is what a demoted primary answers.
const awayStates = /^(?:08|53|57|58|55P03|25006)/;
// What is wrong with the values of a statement, and not with the database: data, integrity, the size of a row or of an index.
const unfitStates = /^(?:22|23|54)/;

// A zero byte, as text or in JSON: PostgreSQL keeps every other character.
const unfitTexts: ReadonlySet<string> = new Set(["22021", "22P05"]);

/**
 * What a failed statement means to a caller: a database that cannot be reached is `unavailable`; a lost race is
 * `aborted`; a text with a zero byte is `invalid_argument`; anything else is a defect, and goes up as it is.
 */
export function translateStoreError(error: unknown): unknown {
  if (error instanceof MillraceError || error instanceof TypeError || error instanceof RangeError) return error;
  if (error instanceof pg.DatabaseError) {
    const state = error.code ?? "";
    if (awayStates.test(state)) return unavailable(error);
    if (state === "40001" || state === "40P01") {
      return new MillraceError("aborted", "the database refused a concurrent change", { cause: error });
    }
    if (unfitTexts.has(state)) {
      return new MillraceError("invalid_argument", "a text has a character that cannot be kept", { cause: error });
    }
    return error;
  }
  // What is left comes from the socket or the pool: refused, reset, timed out.
  return error instanceof Error ? unavailable(error) : error;
}

/** Whether a row will never be taken, for what it holds; said of what Store threw. Anything else may pass. */
export function isUnfitRow(error: unknown): boolean {
  if (error instanceof pg.DatabaseError) return unfitStates.test(error.code ?? "");
  // Numbers that the wire has no room for.
  return error instanceof RangeError || error instanceof TypeError;
}

function unavailable(cause: Error): MillraceError {
  const code = "code" in cause && typeof cause.code === "string" ? ` (${cause.code})` : "";
  return new MillraceError("unavailable", `the database cannot be reached${code}`, { cause, retryAfterMs });
}
