import { setTimeout as delay } from "node:timers/promises";
import { backoffDelayMs, MillraceError, type BackoffPolicy } from "@millrace/protocol";

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 2000, jitter: 0.3 };

/**
 * Does what a start needs the database for, once it answers: who starts everything at once need not mind the order, and a restart
 * that meets an outage is none of its own.
 * @param onWait told of each failure, with how many there were before
 * @throws what is wrong otherwise; the signal's reason, once it is aborted
 */
export async function waitForDatabase(
  work: () => Promise<void>,
  signal: AbortSignal,
  onWait: (error: MillraceError, before: number) => void,
): Promise<void> {
  for (let failures = 0; ; failures++) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof MillraceError) || error.code !== "unavailable") throw error;
      onWait(error, failures);
    }
    // Woken by a stop, which the next turn sees.
    await delay(backoffDelayMs(retry, failures + 1, Math.random()), undefined, { signal }).catch(() => undefined);
  }
}
