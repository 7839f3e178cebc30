import { MillraceError, type ErrorCode } from "@millrace/protocol";
import { pause } from "./pause.ts";
import { toMillraceError } from "./to-millrace-error.ts";

export interface ResumeOptions {
  /** Tries in a row without a message in between; 8 when left out. */
  readonly maxRetries?: number;
  /** The first pause; doubles up to 5 s. 200 ms when left out. */
  readonly retryDelayMs?: number;
  readonly signal?: AbortSignal;
  /** Start after this position. */
  readonly resumeAfter?: string;
}

const maxRetryDelayMs = 5000;
/** What another try may mend. */
const passing: ReadonlySet<ErrorCode> = new Set(["unavailable", "aborted", "resource_exhausted", "deadline_exceeded"]);

interface Positioned {
  readonly position: string;
}

/**
 * One stream out of many: reconnects after the last position seen, with growing pauses, so that a watcher misses nothing.
 * @param open opens the stream after a position, "" for its beginning
 * @param isLast true for the message after which a clean end is the end
 * @throws MillraceError what no retry mends, or the last failure when the tries are used up
 */
export async function* resumeStream<T extends Positioned>(
  open: (resumeAfter: string, signal: AbortSignal) => AsyncIterable<T>,
  isLast: (message: T) => boolean,
  baseUrl: string,
  options: ResumeOptions = {},
): AsyncGenerator<T, void, undefined> {
  const { maxRetries = 8, retryDelayMs = 200, signal } = options;
  let position = options.resumeAfter ?? "";
  let failures = 0;
  for (;;) {
    // Ends the call on the server too when the caller leaves the loop.
    const call = new AbortController();
    const callSignal = signal === undefined ? call.signal : AbortSignal.any([signal, call.signal]);
    let failure: MillraceError;
    try {
      for await (const message of open(position, callSignal)) {
        failures = 0;
        if (message.position !== "") position = message.position;
        yield message;
        if (isLast(message)) return;
      }
      failure = new MillraceError("unavailable", `${baseUrl} ended the stream before its end`);
    } catch (reason) {
      if (signal?.aborted === true) throw new MillraceError("canceled", "the watch was aborted", { cause: reason });
      failure = toMillraceError(reason, baseUrl);
      // The position has left the server's memory: from the beginning, which is the present state.
      if (failure.code === "out_of_range" && position !== "") position = "";
      else if (!passing.has(failure.code)) throw failure;
    } finally {
      call.abort();
    }
    failures += 1;
    if (failures > maxRetries) throw failure;
    await pause(Math.min(maxRetryDelayMs, retryDelayMs * 2 ** (failures - 1)) * (0.75 + Math.random() / 2), signal);
  }
}
