import type { Bus } from "@millrace/bus";
import { isTerminal, stateAfter, type JobState } from "@millrace/protocol";
import { replayEvents } from "./replay-events.ts";

/** So far back an end is looked for: what is older is in the rows, but for a projection that is very far behind. */
const mostMessages = 4096;
const withinMs = 5000;

/**
 * The first end of a run among the newest events, for when the rows cannot tell in time.
 * @param upToSeq a message of EVENTS that holds an end of the run
 * @returns undefined when it could not be read in time
 */
export async function endInEvents(
  bus: Bus,
  { id, run }: { readonly id: string; readonly run: number },
  upToSeq: number,
): Promise<JobState | undefined> {
  const signal = AbortSignal.timeout(withinMs);
  const fromSeq = Math.max(1, upToSeq - mostMessages);
  for await (const { seq, events } of replayEvents(bus, { fromSeq, strict: false, signal })) {
    for (const event of events) {
      const state = stateAfter(event.kind);
      if (event.jobId === id && event.run === run && state !== undefined && isTerminal(state)) return state;
    }
    if (seq >= upToSeq) return undefined;
  }
  return undefined;
}
