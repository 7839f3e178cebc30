import type { Bus } from "@millrace/bus";
import { CrashCounts } from "./crash-counts.ts";
import type { Job } from "./job.ts";
import { Outcome } from "./outcome.ts";

/** From this delivery on, a job is under suspicion of crashing its workers. */
const probationDelivery = 3;

export interface CrashWatchOptions {
  readonly bus: Bus;
  /** Crashes before a job is given up. */
  readonly crashLimit: number;
  onTrouble(error: unknown): void;
}

/** Ends the loops of jobs that take down what runs them: workers, which cannot tell, and executors, which are told of. */
export class CrashWatch {
  readonly #options: CrashWatchOptions;
  readonly #counts: CrashCounts;
  /** Jobs whose run is counted before it begins. */
  readonly #probed = new Set<Job>();

  constructor(options: CrashWatchOptions) {
    this.#options = options;
    this.#counts = new CrashCounts(options.bus);
  }

  /** Whether a job has to be probed before it may run. */
  isSuspect(job: Job): boolean {
    return job.delivery.delivered >= probationDelivery && !this.#probed.has(job);
  }

  /**
   * Counts a run that is about to begin.
   * @returns how the job ends, when it was begun too often; undefined when it may run
   * @throws BusError when it cannot be counted
   */
  async probe(job: Job): Promise<Outcome | undefined> {
    this.#probed.add(job);
    try {
      const crashes = await this.#counts.begin(job.id);
      if (crashes <= this.#options.crashLimit) return undefined;
      const message = `the job was begun ${crashes - 1} times and nobody came back to tell how it ended`;
      return Outcome.failed(message, { code: "CRASHED", retryable: false });
    } catch (error) {
      this.#probed.delete(job);
      throw error;
    }
  }

  /** Counts an executor that died of a job. @returns the outcome, not to be tried again when there were too many */
  async died(job: Job, outcome: Outcome): Promise<Outcome> {
    const { crashLimit, onTrouble } = this.#options;
    try {
      const crashes = await this.#counts.begin(job.id);
      if (crashes < crashLimit) return outcome;
      await this.#counts.end(job.id);
      const message = `${outcome.message}; it has done so ${crashes} times`;
      return Outcome.failed(message, { code: "CRASHED", retryable: false });
    } catch (error) {
      onTrouble(error);
      return outcome;
    }
  }

  /** The job has ended: its count begins anew. */
  settled(job: Job): void {
    if (this.#probed.delete(job)) this.#counts.end(job.id).catch(this.#options.onTrouble);
  }

  /** The job is somebody else's. */
  forget(job: Job): void {
    this.#probed.delete(job);
  }
}
