import { BusError, type Bus, type PipelinedPublisher } from "@millrace/bus";
import type { Breach } from "@millrace/plugin-host";
import { backoffDelayMs, EventKind, type EventFields } from "@millrace/protocol";
import type { Job } from "./job.ts";
import { failedEvent, parkedEvent, poisonedEvent, resultReply, succeededEvent } from "./job-events.ts";
import { nextAttempt, type NextPosition } from "./next-attempt.ts";
import { Outcome } from "./outcome.ts";
import type { Settler } from "./settler.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** Longer waits are the scheduler's: a worker does not hold leases for minutes. */
export const longestHeldMs = 5000;
const mostHeldRetries = 1000;
const republishRetryMs = 1000;

export interface JobEndingsOptions {
  readonly bus: Bus;
  readonly settler: Settler;
  readonly maxResultBytes: number;
  isCancelled(job: Job): boolean;
  /** Whether its message is the second one of another job: it is not tried again. */
  isBarred(job: Job): boolean;
  /** Told of each end, for counters and logs. */
  onEnd(job: Job, event: EventFields): void;
  onTrouble(error: unknown): void;
}

/** Turns the outcome of an attempt into what has to happen: settle, try again, or bury. */
export class JobEndings {
  readonly held = new WaitingRoom(mostHeldRetries);
  readonly #options: JobEndingsOptions;
  readonly #publisher: PipelinedPublisher;
  readonly #timers = new Set<NodeJS.Timeout>();
  #republishing = 0;

  constructor(options: JobEndingsOptions) {
    this.#options = options;
    this.#publisher = options.bus.publisher({ windowMessages: 1024 });
  }

  /** Retries that are not published yet. */
  get open(): number {
    return this.held.size + this.#republishing;
  }

  conclude(job: Job, outcome: Outcome, runUs: number): void {
    if (job.phase === "lost" || job.phase === "settled") return;
    job.phase = "settling";
    switch (outcome.kind) {
      case "succeeded":
        return this.#succeed(job, outcome, runUs);
      case "cancelled":
        return this.#end(job, failedEvent(job, EventKind.CANCELLED, outcome, runUs));
      case "snoozed":
        return this.#again(job, outcome, runUs, outcome.delayMs, job.options.maxAttempts + 1);
      case "failed":
        return this.#fail(job, outcome, runUs);
    }
  }

  /** Its deadline passed before it started. */
  expire(job: Job): void {
    job.phase = "settling";
    const outcome = Outcome.failed("the deadline passed before the job started", {
      code: "DEADLINE_EXCEEDED",
      retryable: false,
    });
    this.#end(job, failedEvent(job, EventKind.EXPIRED, outcome, 0));
  }

  poison(job: Job, reason: string): void {
    job.phase = "settling";
    this.#end(job, poisonedEvent(job, Outcome.failed(reason, { code: "POISONED", retryable: false })));
  }

  park(job: Job, reason: string): void {
    this.#options.settler.note(parkedEvent(job, reason));
  }

  /** A job that may not run yet goes on to the scheduler. */
  postpone(job: Job, runAtMs: number): void {
    job.phase = "settling";
    const { attempt, move, maxAttempts } = job.options;
    this.#publishNext(job, { attempt, move: move + 1, maxAttempts, scheduledMs: runAtMs });
  }

  /** What a caller who waits for a cancelled job is told. Its end is somebody else's to store. */
  tellCancelled(job: Job): void {
    const reply = resultReply(job, failedEvent(job, EventKind.CANCELLED, Outcome.cancelled(), 0), undefined);
    if (reply !== undefined) this.#options.bus.publish(reply.subject, reply.data);
  }

  /** Breaks off a retry that is held. @returns whether it was */
  cancelHeld(job: Job): boolean {
    if (!this.held.leave(job)) return false;
    this.#end(job, failedEvent(job, EventKind.CANCELLED, Outcome.cancelled(), 0));
    return true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    this.held.empty();
    await this.#publisher[Symbol.asyncDispose]();
  }

  #succeed(job: Job, outcome: Outcome, runUs: number): void {
    const most = this.#options.maxResultBytes;
    if (outcome.output.length > most) {
      const message = `the result has ${outcome.output.length} bytes, the limit is ${most}`;
      return this.#fail(job, Outcome.failed(message, { code: "OUTPUT_TOO_LARGE", retryable: false }), runUs);
    }
    this.#end(job, succeededEvent(job, outcome, runUs));
  }

  #fail(job: Job, outcome: Outcome, runUs: number): void {
    if (this.#options.isCancelled(job)) {
      return this.#end(job, failedEvent(job, EventKind.CANCELLED, Outcome.cancelled(), runUs));
    }
    const { attempt, maxAttempts, backoff } = job.options;
    if (!outcome.retryable || attempt >= maxAttempts) {
      return this.#end(job, failedEvent(job, EventKind.DEAD, outcome, runUs), outcome.breach);
    }
    this.#again(job, outcome, runUs, backoffDelayMs(backoff, attempt, Math.random()), maxAttempts);
  }

  #again(job: Job, outcome: Outcome, runUs: number, delayMs: number, maxAttempts: number): void {
    const event = failedEvent(job, EventKind.RETRIED, outcome, runUs);
    event.nextRunAtMs = job.clock.nowMs() + delayMs;
    if (outcome.kind === "snoozed") {
      event.errorCode = "";
      event.reason = "snoozed";
    }
    const next: NextPosition = { attempt: job.options.attempt + 1, move: 0, maxAttempts };
    this.#options.onEnd(job, event);
    // That it failed is stored before there is a next attempt: a message of this one that comes again after that runs no more, and
    // nobody else would tell of its failure.
    if (delayMs > longestHeldMs || this.held.full) {
      const scheduledMs = event.nextRunAtMs;
      this.#options.settler.note(event, () => this.#publishNext(job, { ...next, scheduledMs }));
      return;
    }
    // Short waits pass here, and the row says at once that it will be tried again.
    job.phase = "held";
    let open = 2;
    const oneLess = (): void => {
      if (--open > 0 || job.phase !== "held") return;
      job.phase = "settling";
      this.#publishNext(job, next);
    };
    this.#options.settler.note(event, oneLess);
    this.held.enter(job, Math.max(0, delayMs), oneLess);
  }

  #publishNext(job: Job, next: NextPosition): void {
    this.#publish(job, next, () => this.#options.settler.ack(job));
  }

  #publish(job: Job, next: NextPosition, then: () => void): void {
    // A lost lease ends the tries: somebody else has the job.
    if (job.phase === "lost") return;
    if (this.#options.isBarred(job)) return this.#options.settler.ack(job);
    this.#republishing++;
    const done = (error: BusError | undefined): void => {
      this.#republishing--;
      if (error === undefined) return then();
      this.#options.onTrouble(error);
      this.#later(() => this.#publish(job, next, then));
    };
    try {
      if (this.#publisher.post(nextAttempt(job, next), done)) return;
      this.#republishing--;
      this.#later(() => this.#publish(job, next, then));
    } catch (error) {
      this.#republishing--;
      this.#options.onTrouble(error);
      if (!(error instanceof BusError) || error.code !== "out_of_range") return;
      // With the headers of the next attempt it is larger than a message can be: there is none.
      const reason = `cannot be tried again: ${error.message}`;
      this.#end(job, failedEvent(job, EventKind.DEAD, Outcome.failed(reason, { retryable: false }), 0));
    }
  }

  #later(again: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        again();
      },
      republishRetryMs * (0.5 + Math.random()),
    );
    this.#timers.add(timer);
  }

  #end(job: Job, event: EventFields, breach?: Breach): void {
    this.#options.onEnd(job, event);
    this.#options.settler.settle(job, event, resultReply(job, event, breach));
  }
}
