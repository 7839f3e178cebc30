import type { Bus, PipelinedPublisher } from "@millrace/bus";
import {
  eventBatchSubject,
  EventEncoder,
  type EventFields,
  type JobOptions,
  type PriorityLevel,
} from "@millrace/protocol";
import type { Job } from "./job.ts";

/** A batch leaves when it holds so much … */
const mostEvents = 1000;
const mostBytes = 256 * 1024;
/** … or is so old while more work is at hand, … */
const lingerMs = 1;
/** A job that ends sooner gets no `started`: its last event says when it began. */
const startedAfterMs = 5;
/** Batches without PubAck; more wait, and with them the intake, which counts unsettled jobs. */
const mostInFlight = 16;
const retryDelayMs = 500;
/** Acks that may have been lost with a connection; sent again when it is back. */
const rememberedAcks = 4096;
/** Attempts that ended under a broker that has died, to be acked when they are delivered again: all that a worker has in hand. */
const rememberedEnds = 16_384;

export interface SettlerOptions {
  readonly bus: Bus;
  readonly source: string;
  /** Whether nothing else is at hand, so that waiting for company makes no sense. */
  idle(): boolean;
  startedEvent(job: Job): EventFields;
  /** The job's outcome is durable and its ack is on the way. */
  onSettled(job: Job): void;
  onTrouble(error: unknown): void;
}

interface Reply {
  readonly subject: string;
  readonly data: Uint8Array;
}

/** What an ack needs, of a job that has ended: the job itself, and its message, would live on for as long as acks are remembered. */
interface Ack {
  readonly reply: Uint8Array;
  readonly serverId: string;
  readonly id: string;
  readonly level: PriorityLevel;
  readonly seq: number;
  readonly options: JobOptions;
}

interface Batch {
  readonly data: Uint8Array;
  readonly jobs: readonly Job[];
  readonly replies: readonly Reply[];
  readonly thens: readonly (() => void)[];
}

/**
 * Outcomes become events, events leave in batches, and when a batch is durable, and only then, its jobs are acked: group
 * commit. A batch that cannot be stored is tried again for as long as it takes; the leases are kept meanwhile.
 */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #publisher: PipelinedPublisher;
  readonly #subject: string;
  readonly #encoder: EventEncoder;
  #jobs: Job[] = [];
  #replies: Reply[] = [];
  #thens: (() => void)[] = [];
  #started: Job[] = [];
  #inFlight = 0;
  #pending: Batch[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerMs = 0;
  #immediate: NodeJS.Immediate | undefined;
  readonly #retries = new Set<NodeJS.Timeout>();
  readonly #acks: Ack[] = [];
  readonly #ended = new Set<string>();
  #nextAck = 0;
  #idleWaiters: (() => void)[] = [];
  #stopped = false;
  /** Batches stored so far, and events in them. */
  batches = 0;
  events = 0;

  constructor(options: SettlerOptions) {
    this.#options = options;
    this.#publisher = options.bus.publisher({ windowMessages: mostInFlight });
    this.#subject = eventBatchSubject(options.source);
    this.#encoder = new EventEncoder(options.source);
  }

  /** A job runs; it gets a `started` event if it still does a little later. */
  started(job: Job): void {
    this.#started.push(job);
    this.#schedule(startedAfterMs);
  }

  /** An event that no ack waits for. @param then once it is stored */
  note(event: EventFields, then?: () => void): void {
    this.#add(event);
    if (then !== undefined) this.#thens.push(then);
    this.#schedule(this.#options.idle() ? 0 : lingerMs);
  }

  /** The last event of a delivery: its ack follows. */
  settle(job: Job, event: EventFields, reply?: Reply): void {
    this.#add(event);
    this.#jobs.push(job);
    if (reply !== undefined) this.#replies.push(reply);
    if (this.#encoder.count >= mostEvents || this.#encoder.byteLength >= mostBytes) this.#flush();
    else this.#schedule(this.#options.idle() ? 0 : lingerMs);
  }

  /** Acks a job whose end is durable in another way. */
  ack(job: Job): void {
    this.#ackAll([job]);
  }

  /** After a reconnect: acks that were written shortly before may never have arrived. An ack too many does no harm. */
  repeatAcks(): void {
    this.#sendAcks(this.#acks);
  }

  /** Whether this message was done with here under a broker that could not be told: to run it again would be for nothing. */
  hasEnded(job: Job): boolean {
    return this.#ended.size > 0 && this.#ended.delete(endKey(ackOf(job)));
  }

  #ackAll(jobs: readonly Job[]): void {
    const acks = jobs.map(ackOf);
    this.#sendAcks(acks);
    for (const ack of acks) {
      this.#acks[this.#nextAck] = ack;
      this.#nextAck = (this.#nextAck + 1) % rememberedAcks;
    }
    for (const job of jobs) this.#options.onSettled(job);
  }

  /**
   * A broker that was killed may count on from before this delivery: the same number is then another job's, which the ack would
   * delete. So an ack goes only to the broker that delivered; after its restart the job is delivered again, and acked then.
   */
  #sendAcks(acks: readonly Ack[]): void {
    const { bus } = this.#options;
    const { serverId } = bus;
    const replies: Uint8Array[] = [];
    for (const ack of acks) {
      if (ack.serverId === serverId) replies.push(ack.reply);
      else this.#rememberEnd(ack);
    }
    if (replies.length > 0) bus.ackAll(replies);
  }

  #rememberEnd(ack: Ack): void {
    this.#ended.add(endKey(ack));
    if (this.#ended.size <= rememberedEnds) return;
    for (const oldest of this.#ended) {
      this.#ended.delete(oldest);
      break;
    }
  }

  /** Resolves when every event is durable and every ack written, or the settler has stopped. */
  async flush(): Promise<void> {
    this.#flush();
    if (this.#quiet()) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#idleWaiters.push(resolve);
    await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    for (const timer of this.#retries) clearTimeout(timer);
    await this.#publisher[Symbol.asyncDispose]();
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #add(event: EventFields): void {
    const size = (event.result?.length ?? 0) + (event.payload?.length ?? 0);
    if (this.#encoder.count > 0 && this.#encoder.byteLength + size > mostBytes) this.#flush();
    this.#encoder.add(event);
  }

  #schedule(delayMs: number): void {
    if (this.#immediate !== undefined) return;
    if (delayMs === 0) {
      // After this turn's callbacks, so that what they settle leaves together.
      this.#immediate = setImmediate(() => this.#flush());
    } else if (this.#timer === undefined || delayMs < this.#timerMs) {
      clearTimeout(this.#timer);
      this.#timerMs = delayMs;
      this.#timer = setTimeout(() => this.#flush(), delayMs);
    }
  }

  #flush(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
    this.#addStarted();
    if (this.#encoder.count === 0) return;
    this.events += this.#encoder.count;
    this.#pending.push({ data: this.#encoder.take(), jobs: this.#jobs, replies: this.#replies, thens: this.#thens });
    this.#jobs = [];
    this.#replies = [];
    this.#thens = [];
    this.#send();
  }

  /** In order of their start, so the first that is too young ends the search. */
  #addStarted(): void {
    const beganBefore = performance.now() - startedAfterMs;
    let next = 0;
    for (
      let job = this.#started[next];
      job !== undefined && job.startedMs <= beganBefore;
      job = this.#started[++next]
    ) {
      if (job.phase === "running") this.#encoder.add(this.#options.startedEvent(job));
    }
    this.#started = this.#started.slice(next);
    if (this.#started.some((job) => job.phase === "running")) this.#schedule(startedAfterMs);
    else this.#started = [];
  }

  #send(): void {
    while (this.#inFlight < mostInFlight) {
      const batch = this.#pending.shift();
      if (batch === undefined) return;
      this.#inFlight++;
      try {
        this.#publisher.post({ subject: this.#subject, data: batch.data }, (error) => this.#answered(batch, error));
      } catch (error) {
        this.#answered(batch, error);
      }
    }
  }

  #answered(batch: Batch, error: unknown): void {
    this.#inFlight--;
    if (error === undefined) {
      this.batches++;
      this.#ackAll(batch.jobs);
      for (const reply of batch.replies) this.#options.bus.publish(reply.subject, reply.data);
      for (const then of batch.thens) then();
    } else {
      this.#options.onTrouble(error);
      // Its jobs run again elsewhere.
      if (this.#stopped) return;
      const timer = setTimeout(
        () => {
          this.#retries.delete(timer);
          this.#pending.unshift(batch);
          this.#send();
        },
        retryDelayMs * (0.5 + Math.random()),
      );
      this.#retries.add(timer);
    }
    this.#send();
    if (this.#quiet()) for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }

  #quiet(): boolean {
    return this.#inFlight === 0 && this.#pending.length === 0 && this.#retries.size === 0 && this.#encoder.count === 0;
  }
}

/**
 * Of one message, not of an attempt: the same attempt may have been published anew, and that message is to run. And not of its
 * number alone: a broker that was killed may give it to another job.
 */
function endKey({ id, level, seq, options: { run, attempt, move } }: Ack): string {
  return `${id}:${run}:${attempt}:${move}:${level}:${seq}`;
}

function ackOf({ id, level, options, serverId, delivery }: Job): Ack {
  return { reply: delivery.replyBytes, serverId, id, level, seq: delivery.seq, options };
}
