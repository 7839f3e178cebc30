import { setTimeout as pause } from "node:timers/promises";
import { connect, type JetStreamClient, type NatsConnection } from "nats";
import { Dice } from "../../fuzz/dice.ts";
import type { CheckedSystem } from "./checked-system.ts";
import type { Send, SteerCall, Submission } from "./evidence.ts";
import { drawJob, type JobPlan } from "./job-plan.ts";
import { steerJob, submitByRest, type RestAnswer } from "./submit-by-rest.ts";
import { submitByNats } from "./submit-by-nats.ts";

/** A client that has no answer asks again so often, so far apart. */
const tries = 12;
const againMs = 1500;
/** Follow-ups, such as a cancellation, that are under way at one time; beyond, new jobs wait. */
const mostOpen = 400;
/** Publishes of one burst that wait for their acks. */
const burstWidth = 400;

export interface ClientOptions {
  readonly seed: number;
  /** Jobs a second beside the bursts. */
  readonly rate: number;
  readonly mostDelayMs: number;
}

/** Submits jobs by both doors as the seed wants them, does to them what is planned, and keeps what was answered. */
export class Clients implements AsyncDisposable {
  readonly submissions: Submission[] = [];
  /** Answers that nobody should get, counted. */
  readonly oddAnswers = new Map<string, number>();
  readonly #system: CheckedSystem;
  readonly #options: ClientOptions;
  readonly #connection: NatsConnection;
  readonly #jetStream: JetStreamClient;
  readonly #open = new Set<Promise<void>>();
  readonly #bursts = new Set<Promise<unknown>>();
  readonly #failures: unknown[] = [];

  private constructor(system: CheckedSystem, options: ClientOptions, connection: NatsConnection) {
    this.#system = system;
    this.#options = options;
    this.#connection = connection;
    this.#jetStream = connection.jetstream();
  }

  static async connect(system: CheckedSystem, options: ClientOptions): Promise<Clients> {
    const connection = await connect({
      servers: [...system.clientServers],
      maxReconnectAttempts: -1,
      reconnectTimeWait: 100,
      pingInterval: 5000,
      maxPingOut: 2,
    });
    return new Clients(system, options, connection);
  }

  /** Sends at the rate until the time is over, and resolves when everything planned is done. */
  async run(durationMs: number): Promise<void> {
    const dice = new Dice(this.#options.seed ^ 0x5bd1e995);
    const untilMs = Date.now() + durationMs;
    while (Date.now() < untilMs) {
      this.#begin(false);
      while (this.#open.size >= mostOpen) await Promise.race(this.#open);
      // Irregular, as clients are.
      await pause((2 * dice.below(1000)) / this.#options.rate);
    }
    await Promise.all(this.#bursts);
    while (this.#open.size > 0) await Promise.race(this.#open);
    if (this.#failures.length > 0) throw new AggregateError(this.#failures, "a client failed");
  }

  /** So many jobs at once, as fast as they are taken. */
  burst(count: number): void {
    let left = count;
    const lane = async (): Promise<void> => {
      while (left-- > 0) await this.#begin(true);
    };
    const burst = Promise.all(Array.from({ length: burstWidth }, lane)).finally(() => this.#bursts.delete(burst));
    this.#bursts.add(burst);
  }

  /** Cancels once more what nobody has answered for: at the end, when everything is there again. */
  async finishCancels(): Promise<void> {
    for (const submission of this.submissions) {
      const { cancels } = submission;
      if (cancels.length > 0 && !cancels.some((call) => isSettled(submission, call))) await this.#cancel(submission);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close();
  }

  #begin(burst: boolean): Promise<void> {
    const { seed, mostDelayMs } = this.#options;
    const plan = drawJob(seed, this.submissions.length, burst, mostDelayMs);
    const submission: Submission = { plan, bornMs: Date.now(), sends: [], cancels: [], replays: [] };
    this.submissions.push(submission);
    const ended = this.#live(submission).catch((error: unknown) => void this.#failures.push(error));
    this.#open.add(ended);
    return ended.then(() => void this.#open.delete(ended));
  }

  /** All that is done with one job. */
  async #live(submission: Submission): Promise<void> {
    const { plan, bornMs } = submission;
    const runAtMs = plan.delayMs === 0 ? 0 : bornMs + plan.delayMs;
    const deadlineMs = plan.deadlineMs === 0 ? 0 : bornMs + plan.deadlineMs;
    submission.sends.push(...(await this.#submit(submission, 0, runAtMs, deadlineMs)));
    if (plan.editions[1] !== undefined) {
      await pause(plan.secondAfterMs);
      submission.sends.push(...(await this.#submit(submission, 1, runAtMs, deadlineMs)));
    }
    if (plan.cancelAfterMs >= 0 && submission.sends.some(({ outcome }) => outcome !== "refused")) {
      await pause(plan.cancelAfterMs);
      await this.#cancel(submission);
    }
    if (plan.replayed && plan.id !== undefined) await this.#replay(submission, plan.id);
  }

  /** A client that does not know whether its job is stored sends it again, if it has an id to name it by. */
  async #submit(submission: Submission, number: 0 | 1, runAtMs: number, deadlineMs: number): Promise<Send[]> {
    const { plan } = submission;
    const edition = plan.editions[number];
    const sends: Send[] = [];
    if (edition === undefined) return sends;
    const most = plan.id === undefined ? 1 : tries;
    for (let i = 0; i < most; i++) {
      if (i > 0) await pause(againMs);
      const send = await this.#sendOnce(plan, edition, number, runAtMs, deadlineMs);
      sends.push(send);
      if (send.outcome !== "uncertain") break;
    }
    return sends;
  }

  async #sendOnce(
    plan: JobPlan,
    edition: Parameters<typeof submitByNats>[2],
    number: 0 | 1,
    runAtMs: number,
    deadlineMs: number,
  ): Promise<Send> {
    if (plan.door === "nats") {
      return submitByNats(this.#jetStream, plan, edition, number, runAtMs, deadlineMs);
    }
    const { send, answer } = await submitByRest(this.#restOf(plan), plan, edition, number, runAtMs, deadlineMs);
    this.#judgeAnswer("submit", answer);
    return send;
  }

  async #cancel(submission: Submission): Promise<void> {
    const { plan, cancels } = submission;
    if (plan.id === undefined) return;
    for (let i = 0; i < tries; i++) {
      if (i > 0) await pause(againMs);
      const call = await steerJob(this.#restOf(plan), plan.id, "cancel");
      cancels.push(call);
      this.#judgeAnswer("cancel", call);
      if (isSettled(submission, call)) return;
    }
  }

  /** Waits for the job to be dead, as its row says, and runs it again. */
  async #replay(submission: Submission, id: string): Promise<void> {
    const rest = this.#restOf(submission.plan);
    for (let i = 0; i < tries; i++) {
      await pause(againMs);
      const job = await rest.job(id).catch(() => undefined);
      if (job?.state !== "JOB_STATE_DEAD") continue;
      const call = await steerJob(rest, id, "retry");
      submission.replays.push(call);
      this.#judgeAnswer("retry", call);
      return;
    }
  }

  #restOf({ user }: JobPlan): CheckedSystem["users"][number]["rest"] {
    const found = this.#system.users.find(({ name }) => name === user);
    if (found === undefined) throw new Error(`no user ${user}`);
    return found.rest;
  }

  /** Clients here are known, allowed and few: whatever is refused is refused for another reason, or not at all. */
  #judgeAnswer(call: string, { status, detail }: Pick<RestAnswer, "status" | "detail">): void {
    const odd = [400, 401, 403, 429, 500, 501].includes(status) || detail.startsWith("no answer in");
    if (!odd) return;
    const key = `${call} ${status} ${detail.slice(0, 200)}`;
    this.oddAnswers.set(key, (this.oddAnswers.get(key) ?? 0) + 1);
  }
}

/** Says what became of the cancellation; of a job that nobody has acknowledged, also that there is none. */
function isSettled({ sends }: Submission, { status }: SteerCall): boolean {
  return status === 200 || status === 409 || (status === 404 && !sends.some(({ outcome }) => outcome === "accepted"));
}
