import type { Bus } from "@millrace/bus";
import { isTerminal, stateAfter, type JobState } from "@millrace/protocol";
import { replayEvents } from "./replay-events.ts";

/** So far back an end is looked for: what is older is in the rows, but for a projection that is very far behind. */
const mostMessages = 4096;
const withinMs = 5000;
/** Runs that are looked for at one time, or wait for it. */
const mostWanted = 10_000;

export interface JobRun {
  readonly id: string;
  readonly run: number;
}

interface Wanted {
  readonly upToSeq: number;
  readonly found: PromiseWithResolvers<JobState | undefined>;
}

/**
 * Finds the first end of a run among the newest events, for when the rows cannot tell in time. The stream is read once for all who ask
 * meanwhile, however many cancel at the same time.
 */
export class EndsInEvents {
  readonly #bus: Bus;
  #wanted = new Map<string, Wanted>();
  #reading = false;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /**
   * @param upToSeq a message of EVENTS that holds an end of the run
   * @returns undefined when it could not be read in time; never rejects
   */
  find(wanted: JobRun, upToSeq: number): Promise<JobState | undefined> {
    const key = keyOf(wanted);
    const known = this.#wanted.get(key);
    if (known !== undefined && known.upToSeq >= upToSeq) return known.found.promise;
    if (this.#wanted.size >= mostWanted) return Promise.resolve(undefined);
    const found = Promise.withResolvers<JobState | undefined>();
    // Who asked for less hears the same: the first end lies before.
    if (known !== undefined) void found.promise.then(known.found.resolve);
    this.#wanted.set(key, { upToSeq, found });
    if (!this.#reading) void this.#readAll();
    return found.promise;
  }

  async #readAll(): Promise<void> {
    this.#reading = true;
    while (this.#wanted.size > 0) {
      const wanted = this.#wanted;
      this.#wanted = new Map();
      const ends = await this.#read([...wanted.values()].map(({ upToSeq }) => upToSeq)).catch(() => undefined);
      for (const [key, { upToSeq, found }] of wanted) {
        const end = ends?.get(key);
        found.resolve(end !== undefined && end.seq <= upToSeq ? end.state : undefined);
      }
    }
    this.#reading = false;
  }

  /** The first end of each run, from before the first of these messages up to the last. Incomplete when the time is over. */
  async #read(seqs: readonly number[]): Promise<Map<string, { readonly seq: number; readonly state: JobState }>> {
    const ends = new Map<string, { readonly seq: number; readonly state: JobState }>();
    const lastSeq = seqs.reduce((last, seq) => Math.max(last, seq), 0);
    const fromSeq = Math.max(1, seqs.reduce((first, seq) => Math.min(first, seq), lastSeq) - mostMessages);
    const signal = AbortSignal.timeout(withinMs);
    for await (const { seq, events } of replayEvents(this.#bus, { fromSeq, strict: false, signal })) {
      for (const event of events) {
        const state = stateAfter(event.kind);
        if (state === undefined || !isTerminal(state)) continue;
        const key = keyOf({ id: event.jobId, run: event.run });
        if (!ends.has(key)) ends.set(key, { seq, state });
      }
      if (seq >= lastSeq) break;
    }
    return ends;
  }
}

function keyOf({ id, run }: JobRun): string {
  return `${id} ${run}`;
}
