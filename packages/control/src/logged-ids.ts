import type { Bus } from "@millrace/bus";
import { jobLogs, jobStream, priorityNames, scheduleStream, subjectRoots, withOwner } from "@millrace/protocol";
import type { JobMessage } from "./job-message.ts";
import { askLog } from "./log-places.ts";

/** Jobs that are asked for together; the others wait. */
const mostTogether = 1000;
/** Questions without an answer at one time; the others wait. A broker drops requests beyond some thousands. */
const mostQuestions = 1024;
/**
 * For a subject with wildcards an old broker (before 2.10) goes through all subjects of the log, at about 0.7 µs each. A question for
 * one subject costs it and us some 20 µs. So a question with wildcards pays when it saves one for each so many subjects.
 */
const subjectsPerQuestion = 16;

type Question = readonly [log: string, subject: string];

interface Asked extends PromiseWithResolvers<boolean> {
  readonly job: JobMessage;
}

/**
 * Knows which ids of callers the logs hold, whatever the priority, and whether the job waits for its time. The log that a job goes to
 * is not asked: there the broker itself looks, when it is published.
 *
 * Most types come in at one priority, so the other logs hold none of them under an id that a caller chose. For jobs that come together
 * each log is asked that first, in one question for a queue, type and owner, and for single ids only where it does.
 */
export class LoggedIds {
  readonly #bus: Bus;
  readonly #subjectsIn: (log: string) => number;
  #wanted: Asked[] = [];
  #asking = false;
  #open = 0;
  readonly #waiting: (() => void)[] = [];

  /** @param subjectsIn how many subjects a log has messages on, as far as somebody knows; Infinity when nobody does */
  constructor(bus: Bus, subjectsIn: (log: string) => number) {
    this.#bus = bus;
    this.#subjectsIn = subjectsIn;
  }

  /** @throws BusError when a log cannot be asked */
  isLogged(job: JobMessage): Promise<boolean> {
    const asked = { job, ...Promise.withResolvers<boolean>() };
    this.#wanted.push(asked);
    if (!this.#asking) {
      this.#asking = true;
      // In the next turn, together with what else comes in this one.
      setImmediate(() => void this.#askAll());
    }
    return asked.promise;
  }

  /** What comes meanwhile goes together next. */
  async #askAll(): Promise<void> {
    while (this.#wanted.length > 0) {
      const together = this.#wanted.slice(0, mostTogether);
      this.#wanted = this.#wanted.slice(mostTogether);
      const groups = Map.groupBy(together, ({ job: { queue, type, owner } }) => `${queue} ${type} ${owner}`);
      await Promise.all([...groups.values()].map((group) => this.#ask(group)));
    }
    this.#asking = false;
  }

  /** Of one queue, type and owner. Never rejects. */
  async #ask(group: readonly Asked[]): Promise<void> {
    const may = await Promise.all(jobLogs.map((log) => this.#mayHold(log, group)));
    const logs = jobLogs.filter((_, index) => may[index]);
    const one = async ({ job, resolve, reject }: Asked): Promise<void> => {
      try {
        const found = await Promise.all(logs.flatMap((log) => this.#questions(log, job)).map((q) => this.#holds(q)));
        resolve(found.includes(true));
      } catch (error) {
        reject(error);
      }
    };
    if (logs.length === 0) for (const { resolve } of group) resolve(false);
    else await Promise.all(group.map(one));
  }

  /** Whether a log has to be asked for single ids. */
  async #mayHold(log: string, group: readonly Asked[]): Promise<boolean> {
    // One question each, as a rule.
    const singly = group.flatMap(({ job }) => (log !== job.log || log === scheduleStream ? [job] : []));
    const [first] = singly;
    if (first === undefined) return false;
    if (singly.length === 1 || this.#subjectsIn(log) > singly.length * subjectsPerQuestion) return true;
    // With an owner, jobs whose ids are in the header match too: then each is asked for. Without an answer as well, and hears why.
    return this.#holds([log, subjectIn(log, anyPriority(log), first, "*")]).catch(() => true);
  }

  /** On each subject that the job may have been published on, but that on which it will be. */
  #questions(log: string, job: JobMessage): Question[] {
    const priorities = prioritiesIn(log);
    if (priorities.length > 1 && this.#subjectsIn(log) <= priorities.length * subjectsPerQuestion) {
      return [[log, subjectIn(log, anyPriority(log), job, job.id)]];
    }
    const subjects = priorities.map((priority) => subjectIn(log, priority, job, job.id));
    return subjects.filter((subject) => subject !== job.subject).map((subject) => [log, subject]);
  }

  async #holds([log, subject]: Question): Promise<boolean> {
    if (this.#open >= mostQuestions) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    }
    this.#open++;
    try {
      return await askLog(log, this.#bus.holdsSubject(log, subject));
    } finally {
      this.#open--;
      this.#waiting.shift()?.();
    }
  }
}

/** Of which priorities a log has jobs. */
function prioritiesIn(log: string): readonly string[] {
  return log === scheduleStream ? priorityNames : priorityNames.filter((name) => jobStream(name) === log);
}

function anyPriority(log: string): string {
  const [only = "", ...more] = prioritiesIn(log);
  return more.length > 0 ? "*" : only;
}

/** Where a log has a job of the same queue, type and owner; `priority` and `id` may be wildcards. */
function subjectIn(log: string, priority: string, { queue, type, owner }: JobMessage, id: string): string {
  const root = log === scheduleStream ? subjectRoots.schedule : subjectRoots.jobs;
  return withOwner(`${root}.${priority}.${queue}.${type}.${id}`, owner);
}
