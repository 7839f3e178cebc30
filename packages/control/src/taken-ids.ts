import type { Bus } from "@millrace/bus";
import { MillraceError } from "@millrace/protocol";
import type { JobKey, Store } from "@millrace/store";
import type { JobMessage } from "./job-message.ts";
import { LoggedIds } from "./logged-ids.ts";
import type { RecentJobs } from "./recent-jobs.ts";

/** A submission waits so long to hear of an id that its caller chose, and then goes on without. */
const patienceMs = 1000;
/** After a database that did not answer nobody asks, nor waits, for so long. */
const restMs = 5000;
/** Ids of one statement. */
const mostIds = 500;

type Found = PromiseWithResolvers<JobKey | undefined>;

/**
 * Knows the ids that callers chose. The logs are asked first: they know a job from its PubAck on; then the rows, which know it before
 * its message goes. So the same job again is known for as long as either has it, whatever its priority and whether it waits for its
 * time. Jobs of different owners, queues and types share no id as far as the rows can tell: what they do not have yet, or a database
 * that is away, keeps nobody from submitting. What slips by still writes into no row of another queue or type.
 */
export class TakenIds {
  readonly #bus: Bus;
  readonly #store: Store;
  readonly #recent: RecentJobs;
  readonly #logged: LoggedIds;
  /** The last submission of each id that is under way in this process. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  /** To be asked for with the next statement. */
  readonly #wanted = new Map<string, Found>();
  #asking = false;
  #restUntilMs = 0;

  /** @param subjectsIn how many subjects a log has messages on, as far as somebody knows */
  constructor(bus: Bus, store: Store, recent: RecentJobs, subjectsIn: (log: string) => number = () => Infinity) {
    this.#bus = bus;
    this.#store = store;
    this.#recent = recent;
    this.#logged = new LoggedIds(bus, subjectsIn);
  }

  /** Runs `submit` when no other submission of this id is under way here: of two, the second sees the first one's job. */
  async alone<T>(id: string, submit: () => Promise<T>): Promise<T> {
    const before = this.#underWay.get(id);
    const mine = before === undefined ? submit() : before.then(submit, submit);
    this.#underWay.set(id, mine);
    try {
      return await mine;
    } finally {
      if (this.#underWay.get(id) === mine) this.#underWay.delete(id);
    }
  }

  /**
   * Whether this job was accepted before.
   * @throws MillraceError already_exists when the id is another job's; BusError when the logs cannot be asked
   */
  async isKnown(job: JobMessage): Promise<boolean> {
    const { id } = job;
    const recent = this.#recent.get(id);
    if (recent !== undefined) return isSame(job, recent);
    if (await this.#logged.isLogged(job)) return true;
    const key = await this.#find(id);
    return key !== undefined && isSame(job, key);
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
      this.#bus.logger.debug({ err: error }, "whether ids are taken cannot be read: jobs are accepted");
      return none;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** @throws MillraceError already_exists */
function isSame({ id, queue, type, owner }: JobMessage, taken: JobKey): true {
  if (taken.queue === queue && taken.type === type && taken.owner === owner) return true;
  throw new MillraceError("already_exists", `the id ${id} is taken`, {
    details: [{ field: "id", reason: "is the id of another job" }],
  });
}
