import {
  defaultJobOptions,
  headerNames,
  parseJobOptions,
  type HeaderProblem,
  type JobOptions,
  type PriorityLevel,
} from "@millrace/protocol";
import type { BrokerClock, Delivery } from "@millrace/bus";

const ours = "\r\nMillrace-";
const ownId = `\r\n${headerNames.id}:`;
const trace = `\r\n${headerNames.traceparent}:`;

/** Where a job stands inside this worker. `lost`: its lease ran out by our own clock; nothing more is said for it. */
export type JobPhase = "waiting" | "running" | "held" | "settling" | "settled" | "lost";

/** What the subject of a message, and where it has none its headers, say of whose job it is. */
export interface JobName {
  readonly id: string;
  readonly type: string;
  /** Empty for what came over NATS. */
  readonly owner: string;
}

/** One delivered message, from the pull to the ack. */
export class Job implements JobName {
  /** The last one of this message: it is what an ack answers. */
  delivery: Delivery;
  readonly level: PriorityLevel;
  readonly queue: string;
  readonly id: string;
  readonly type: string;
  readonly owner: string;
  /** The broker's: what run-at and deadline are judged by, and events are dated by. */
  readonly clock: BrokerClock;
  phase: JobPhase = "waiting";
  /** Monotonic ms until which the broker gives this job to nobody else. */
  leaseUntilMs: number;
  /** When the lease was last renewed, monotonic ms. */
  renewedMs: number;
  /** Unix ms of the start of the attempt, by the broker's clock; 0 before. */
  startedAtMs = 0;
  /** Monotonic ms of the same instant. */
  startedMs = 0;
  /** Monotonic ms at which the attempt is over whatever the handler thinks; Infinity when there is no limit. */
  timeoutAtMs = Infinity;
  cancelRequested = false;
  /** name@version of the plugin that ran the attempt; empty for a native handler. */
  plugin = "";
  /** What the attempt used, in the plugin's units. */
  fuel = 0;
  /** The run of the broker that delivered it. */
  serverId = "";
  /** Called when the attempt is to be broken off. */
  onAbort: ((reason: unknown) => void) | undefined;
  #options: JobOptions | undefined;
  #problems: readonly HeaderProblem[] | undefined;

  constructor(
    delivery: Delivery,
    place: { level: PriorityLevel; queue: string },
    name: JobName,
    clock: BrokerClock,
    nowMs: number,
    leaseMs: number,
  ) {
    this.delivery = delivery;
    this.level = place.level;
    this.queue = place.queue;
    this.id = name.id;
    this.type = name.type;
    this.owner = name.owner;
    this.clock = clock;
    this.renewedMs = nowMs;
    this.leaseUntilMs = nowMs + leaseMs;
  }

  /** Whether the attempt was under way, so that its end is this worker's to store. */
  get hasBegun(): boolean {
    return this.startedAtMs > 0;
  }

  /** Whether another delivery is of the same message. Its number alone does not say so: a broker that was killed may give it again. */
  isSameMessage({ id, level, delivery, options }: Job): boolean {
    const { run, attempt, move } = this.options;
    return (
      id === this.id &&
      level === this.level &&
      delivery.seq === this.delivery.seq &&
      options.run === run &&
      options.attempt === attempt &&
      options.move === move
    );
  }

  /** Headers are read when somebody asks: most jobs have none of ours. */
  get options(): JobOptions {
    return this.#options ?? this.#parse();
  }

  /** What is wrong with the headers; undefined when nothing is. */
  get problems(): readonly HeaderProblem[] | undefined {
    if (this.#options === undefined) this.#parse();
    return this.#problems;
  }

  #parse(): JobOptions {
    if (!saysMore(this.delivery.headerText)) return (this.#options = defaultJobOptions);
    const parsed = parseJobOptions((name) => this.delivery.header(name));
    if (!parsed.ok) this.#problems = parsed.problems;
    return (this.#options = parsed.ok ? parsed.options : defaultJobOptions);
  }
}

/** Whether headers say anything of the job but its id. */
function saysMore(headerText: string): boolean {
  let at = headerText.indexOf(ours);
  if (at >= 0 && headerText.startsWith(ownId, at)) at = headerText.indexOf(ours, at + ownId.length);
  return at >= 0 || headerText.includes(trace);
}
