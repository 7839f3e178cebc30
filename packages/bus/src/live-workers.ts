import type { Bus } from "./bus.ts";
import { BusError } from "./bus-error.ts";
import type { KvWatch } from "./kv-bucket.ts";
import { buckets, commandSubject, decodeJson, type HoldsAnswer } from "@millrace/protocol";

/** A worker has so long to say which jobs it has in hand. */
const answerMs = 500;
/** Ids in one question. */
const mostIds = 1000;
const encoder = new TextEncoder();

/** Workers that live, as they say themselves, and what they have in hand. */
export class LiveWorkers implements AsyncDisposable {
  readonly #bus: Bus;
  readonly #watch: KvWatch;
  /** When each was heard of last, on the clock of performance.now(): an entry that ages leaves no word. */
  readonly #heardMs = new Map<string, number>();

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#watch = bus.kv("workers").watch({
      onEntry: (id, entry) => {
        if (entry === undefined) this.#heardMs.delete(id);
        else this.#heardMs.set(id, performance.now());
      },
    });
  }

  get ready(): Promise<void> {
    return this.#watch.ready;
  }

  /**
   * Which of the jobs a worker has, from pull to ack. A live worker that does not answer counts as having all of them.
   * @param ids at most 1,000
   */
  async holds(ids: readonly string[]): Promise<ReadonlySet<string>> {
    if (ids.length > mostIds) throw new RangeError(`more than ${mostIds} ids`);
    const held = await Promise.all(this.#live().map((worker) => this.#ask(worker, ids)));
    return new Set(held.flat());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
  }

  #live(): string[] {
    const sinceMs = performance.now() - buckets.workers.ttlMs;
    for (const [id, heardMs] of this.#heardMs) if (heardMs < sinceMs) this.#heardMs.delete(id);
    return [...this.#heardMs.keys()];
  }

  async #ask(worker: string, ids: readonly string[]): Promise<readonly string[]> {
    const question = encoder.encode(JSON.stringify({ command: "holds", ids }));
    try {
      const answer = await this.#bus.request(commandSubject(worker), question, { timeoutMs: answerMs });
      const { holds } = decodeJson<HoldsAnswer>(answer.data);
      return Array.isArray(holds) ? holds : ids;
    } catch (error) {
      // Who does not answer, or not so that it can be read, may have them.
      if (error instanceof BusError || error instanceof SyntaxError) return ids;
      throw error;
    }
  }
}
