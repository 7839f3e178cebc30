import type { BusLogger } from "@millrace/bus";
import { MillraceError } from "@millrace/protocol";
import type { JobKey, Store } from "@millrace/store";
import type { RecentJobs } from "./recent-jobs.ts";

/** A submission waits so long to hear of an id that its caller chose, and then goes on without. */
const patienceMs = 1000;
/** After a database that did not answer nobody asks, nor waits, for so long. */
const restMs = 5000;
/** Ids of one statement. */
const mostIds = 500;

type Found = PromiseWithResolvers<JobKey | undefined>;

/**
 * Keeps jobs of different owners, queues and types from sharing an id, as far as the read model can tell: one that it does not have
 * yet, or a database that is away, keeps nobody from submitting. What slips by still writes into no row of another queue or type.
 */
export class TakenIds {
  readonly #store: Store;
  readonly #recent: RecentJobs;
  readonly #logger: BusLogger;
  /** To be asked for with the next statement. */
  readonly #wanted = new Map<string, Found>();
  #asking = false;
  #restUntilMs = 0;

  constructor(store: Store, recent: RecentJobs, logger: BusLogger) {
    this.#store = store;
    this.#recent = recent;
    this.#logger = logger;
  }

  /** @throws MillraceError already_exists when the id is another job's */
  async refuse(id: string, { queue, type, owner }: JobKey): Promise<void> {
    const taken = this.#recent.get(id) ?? (await this.#find(id));
    if (taken === undefined || (taken.queue === queue && taken.type === type && taken.owner === owner)) return;
    throw new MillraceError("already_exists", `the id ${id} is taken`, {
      details: [{ field: "id", reason: "is the id of another job" }],
    });
  }

  #find(id: string): Promise<JobKey | undefined> {
    if (performance.now() < this.#restUntilMs) return Promise.resolve(undefined);
    const known = this.#wanted.get(id);
    if (known !== undefined) return known.promise;
    const found = Promise.withResolvers<JobKey | undefined>();
    this.#wanted.set(id, found);
    if (!this.#asking) {
      this.#asking = true;
      // In the next turn, together with what else comes in this one.
      setImmediate(() => void this.#askAll());
    }
    return found.promise;
  }

  /** One statement at a time; what is wanted meanwhile goes into the next. */
  async #askAll(): Promise<void> {
    while (this.#wanted.size > 0) {
      const asked = [...this.#wanted].slice(0, mostIds);
      for (const [id] of asked) this.#wanted.delete(id);
      const keys = await this.#ask(asked.map(([id]) => id));
      for (const [id, { resolve }] of asked) resolve(keys.get(id));
    }
    this.#asking = false;
  }

  /** Never rejects. */
  async #ask(ids: readonly string[]): Promise<ReadonlyMap<string, JobKey>> {
    const none: ReadonlyMap<string, JobKey> = new Map();
    if (performance.now() < this.#restUntilMs) return none;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error("the database takes too long")), patienceMs);
    try {
      return await Promise.race([this.#store.findJobKeys(ids), late]);
    } catch (error) {
      this.#restUntilMs = performance.now() + restMs;
      this.#logger.debug({ err: error }, "whether ids are taken cannot be read: jobs are accepted");
      return none;
    } finally {
      clearTimeout(timer);
    }
  }
}
