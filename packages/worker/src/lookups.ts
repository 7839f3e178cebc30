import type { Bus } from "@millrace/bus";
import { decodeJson, rowsSubject, type RowsAnswer, type RowsQuestion, type RowStanding } from "@millrace/protocol";
import type { Job } from "./job.ts";
import { judgeStanding, type Standing } from "./judge-standing.ts";

/** Jobs wait so long for company … */
const collectMs = 5;
/** … or until so many are together. */
const mostAtOnce = 500;
/** Without an answer by then they run: twice is better than never. */
const waitMs = 1000;
/** What may be pulled ahead of credits while nearly all that is looked up has ended, as behind a consumer that was made anew. */
const leastAllowance = 16;
const mostAllowance = 500;
/** The projector's own answer, that it is not there yet, comes first. */
const graceMs = 250;
const encoder = new TextEncoder();

export interface LookupsOptions {
  readonly bus: Bus;
  /** Once for each job that was added and did not leave. */
  onStanding(job: Job, standing: Standing): void;
  onTrouble(error: unknown): void;
}

/**
 * Asks the projector about jobs that may have been delivered before: has this one ended, has it moved? It answers once it has read
 * all events so far, and where it does not the job runs. What waits here is in hand, which bounds it.
 */
export class Lookups implements Disposable {
  readonly #options: LookupsOptions;
  readonly #waiting = new Set<Job>();
  #batch: Job[] = [];
  #timer: NodeJS.Timeout | undefined;
  #allowance = 0;
  /** Jobs that were asked about so far, and those of them that did not run. */
  asked = 0;
  dropped = 0;

  constructor(options: LookupsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** How many more jobs may be pulled than the slots ask for: what is looked up will take none. */
  get allowance(): number {
    return this.#allowance;
  }

  add(job: Job): void {
    this.#waiting.add(job);
    this.#batch.push(job);
    if (this.#batch.length >= mostAtOnce) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), collectMs);
  }

  /** What is delivered needs no look any more: the slots' own credits count again. */
  stopAhead(): void {
    this.#allowance = 0;
  }

  /** @returns whether it waited here */
  leave(job: Job): boolean {
    return this.#waiting.delete(job);
  }

  /** All that match, which leave with it. */
  remove(match: (job: Job) => boolean): Job[] {
    const removed = [...this.#waiting].filter(match);
    for (const job of removed) this.#waiting.delete(job);
    return removed;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#batch = [];
    this.#waiting.clear();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const jobs = this.#batch.filter((job) => this.#waiting.has(job));
    this.#batch = [];
    if (jobs.length > 0) this.#lookUp(jobs).catch(this.#options.onTrouble);
  }

  async #lookUp(jobs: readonly Job[]): Promise<void> {
    const rows = await this.#ask([...new Set(jobs.map(({ id }) => id))]);
    const judged = jobs
      .filter((job) => this.#waiting.delete(job))
      .map((job) => ({ job, standing: judgeStanding(job.options, rows.get(job.id)) }));
    if (judged.length === 0) return;
    const dropped = judged.filter(({ standing }) => standing !== "due").length;
    this.asked += judged.length;
    this.dropped += dropped;
    this.#allowance =
      dropped < judged.length * 0.9 ? 0 : Math.min(mostAllowance, Math.max(leastAllowance, this.#allowance * 2));
    for (const { job, standing } of judged) this.#options.onStanding(job, standing);
  }

  async #ask(ids: readonly string[]): Promise<ReadonlyMap<string, RowStanding>> {
    const question: RowsQuestion = { ids, waitMs };
    try {
      const data = encoder.encode(JSON.stringify(question));
      const answer = await this.#options.bus.request(rowsSubject, data, { timeoutMs: waitMs + graceMs });
      const { ready, rows } = decodeJson<RowsAnswer>(answer.data);
      return ready === true && Array.isArray(rows) ? new Map(rows.map((row) => [row.id, row])) : new Map();
    } catch {
      // No projector, or none that answers in time: nobody knows of an end.
      return new Map();
    }
  }
}
