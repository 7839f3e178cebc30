import {
  defaultJobOptions,
  parseJobOptions,
  type HeaderProblem,
  type JobOptions,
  type PriorityLevel,
} from "@millrace/protocol";
import type { Delivery } from "@millrace/bus";

const decoder = new TextDecoder();

/** Where a job stands inside this worker. `lost`: its lease ran out by our own clock; nothing more is said for it. */
export type JobPhase = "waiting" | "running" | "held" | "settling" | "settled" | "lost";

/** One delivered message, from the pull to the ack. */
export class Job {
  readonly delivery: Delivery;
  readonly level: PriorityLevel;
  readonly queue: string;
  readonly type: string;
  readonly id: string;
  phase: JobPhase = "waiting";
  /** Monotonic ms until which the broker gives this job to nobody else. */
  leaseUntilMs: number;
  /** When the lease was last renewed, monotonic ms. */
  renewedMs: number;
  /** Unix ms of the start of the attempt; 0 before. */
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
    type: string,
    id: string,
    nowMs: number,
    leaseMs: number,
  ) {
    this.delivery = delivery;
    this.level = place.level;
    this.queue = place.queue;
    this.type = type;
    this.id = id;
    this.renewedMs = nowMs;
    this.leaseUntilMs = nowMs + leaseMs;
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
    const bytes = this.delivery.headerBytes;
    if (bytes.length === 0) return (this.#options = defaultJobOptions);
    const text = decoder.decode(bytes);
    if (!text.includes("\r\nMillrace-") && !text.includes("\r\ntraceparent:"))
      return (this.#options = defaultJobOptions);
    const parsed = parseJobOptions((name) => this.delivery.header(name));
    if (!parsed.ok) this.#problems = parsed.problems;
    return (this.#options = parsed.ok ? parsed.options : defaultJobOptions);
  }
}
