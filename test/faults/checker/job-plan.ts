import { createHash } from "node:crypto";
import { priorityNames, type PriorityName } from "@millrace/protocol";
import { Dice } from "../../fuzz/dice.ts";

/** What the handler does; the types of jobs that the checker's workers run. */
export const jobTypes = ["quick", "slow", "stumble-1", "stumble-2", "doomed", "hopeless"] as const;
export type PlannedType = (typeof jobTypes)[number];

export const queueNames = ["alpha", "beta", "seldom"] as const;

/** What differs between two jobs of one id. */
export interface JobEdition {
  readonly priority: PriorityName;
  readonly form: "json" | "text" | "raw";
  readonly bytes: Uint8Array;
}

/** One job as the seed wants it: the same for the same seed and number. */
export interface JobPlan {
  readonly n: number;
  readonly door: "nats" | "rest";
  readonly type: PlannedType;
  readonly queue: string;
  /** Chosen by the client; undefined: Millrace's. */
  readonly id: string | undefined;
  /** By NATS: where the id stands. With the subject, a message id may stand beside it, so that the broker drops doubles, too. */
  readonly idIn: "subject" | "subject and message id" | "message id";
  /** The job, and what comes later under its id where something does. */
  readonly editions: readonly [JobEdition, JobEdition?];
  readonly secondAfterMs: number;
  readonly tags: readonly string[];
  readonly correlationId: string;
  /** Headers of nobody's but the client's; by NATS only. */
  readonly headers: Readonly<Record<string, string>>;
  readonly traceparent: string;
  readonly contentType: string;
  /** 0: the default. */
  readonly maxAttempts: number;
  /** Fixed; 0: the default. */
  readonly backoffMs: number;
  /** 0: at once. */
  readonly delayMs: number;
  /** From the submission on; 0: none. */
  readonly deadlineMs: number;
  readonly uniqueKey: string;
  /** Who submits it by REST. */
  readonly user: "ada" | "bob";
  /** -1: never. */
  readonly cancelAfterMs: number;
  /** Whether it is run again once it is dead. */
  readonly replayed: boolean;
}

const hourMs = 3_600_000;
const uniqueKeys = 6;

/**
 * @param burst for many at once: by NATS, nothing that waits for long
 * @param mostDelayMs bound on the waits of those that are to run some time
 */
export function drawJob(seed: number, n: number, burst: boolean, mostDelayMs: number): JobPlan {
  const dice = new Dice(Math.imul(seed, 0x9e3779b1) ^ Math.imul(n + 1, 0x85ebca6b));
  const door = burst || dice.percent(65) ? "nats" : "rest";
  const kind = dice.below(100);
  const chosen = dice.percent(60);
  const base = {
    ...drawTrimmings(dice, door, n),
    n,
    door,
    type: drawType(dice),
    queue: dice.percent(60) ? queueNames[0] : dice.percent(90) ? queueNames[1] : queueNames[2],
    id: chosen ? `c${n}-${dice.bits().toString(36)}` : undefined,
    idIn: dice.percent(50) ? "subject" : "subject and message id",
    editions: [drawEdition(dice, n)],
    secondAfterMs: 0,
    maxAttempts: 0,
    backoffMs: 0,
    delayMs: 0,
    deadlineMs: 0,
    uniqueKey: "",
    user: dice.percent(50) ? "ada" : "bob",
    cancelAfterMs: -1,
    replayed: false,
  } satisfies JobPlan;
  const id = base.id ?? `x${n}-${dice.bits().toString(36)}`;
  if (burst || kind < 45) {
    return withAttempts(dice, dice.percent(20) ? { ...base, idIn: "message id" } : base);
  }
  if (kind < 62) return withAttempts(dice, { ...base, delayMs: 500 + dice.below(mostDelayMs) });
  // Cancelled: before its time, while it waits, while it runs, or too late.
  if (kind < 66) return { ...base, id, type: "quick", delayMs: hourMs, cancelAfterMs: dice.below(4000) };
  if (kind < 72) return { ...base, id, type: "slow", cancelAfterMs: dice.below(2500) };
  if (kind < 76) {
    const retries = { type: "doomed" as const, maxAttempts: 3, backoffMs: dice.percent(50) ? 1500 : 7000 };
    return { ...base, ...retries, id, cancelAfterMs: dice.below(5000) };
  }
  if (kind < 84)
    return { ...base, id, secondAfterMs: 100 + dice.below(6000), editions: drawTwo(dice, base, n), backoffMs: 200 };
  if (kind < 88) return { ...base, door: "rest", type: "slow", uniqueKey: `u${dice.below(uniqueKeys)}`, ...noHeaders };
  if (kind < 92) return { ...base, deadlineMs: 500 + dice.below(6000), type: dice.percent(50) ? "quick" : "slow" };
  if (kind < 95) return { ...base, id, type: "doomed", maxAttempts: 1, replayed: true };
  // Longer than a worker holds a retry.
  return { ...base, type: "stumble-1", backoffMs: 5500 + dice.below(4000), maxAttempts: 3 };
}

const noHeaders = { headers: {}, traceparent: "" };

function drawType(dice: Dice): PlannedType {
  const share = dice.below(100);
  if (share < 70) return "quick";
  if (share < 80) return "slow";
  if (share < 87) return "stumble-1";
  if (share < 92) return "stumble-2";
  return share < 97 ? "doomed" : "hopeless";
}

function withAttempts(dice: Dice, plan: JobPlan): JobPlan {
  if (plan.type === "quick" || plan.type === "slow" || plan.type === "hopeless") return plan;
  return { ...plan, backoffMs: 50 + dice.below(1000), maxAttempts: plan.type === "doomed" ? 1 + dice.below(3) : 4 };
}

function drawTrimmings(
  dice: Dice,
  door: "nats" | "rest",
  n: number,
): Pick<JobPlan, "tags" | "correlationId" | "headers" | "traceparent" | "contentType"> {
  const bare = dice.percent(25);
  if (bare) return { tags: [], correlationId: "", contentType: "", ...noHeaders };
  const tags = Array.from({ length: dice.below(4) }, (_, i) => `t${i}:${dice.below(50)}`);
  const trace = `00-${hex(dice, 32)}-${hex(dice, 16)}-01`;
  return {
    tags,
    correlationId: dice.percent(70) ? `cor ${n} ${hex(dice, 6)}` : "",
    contentType: "",
    ...(door === "rest"
      ? noHeaders
      : {
          headers: dice.percent(50) ? { "X-Client": `client ${n}`, "X-Other": hex(dice, 8) } : {},
          traceparent: dice.percent(40) ? trace : "",
        }),
  };
}

function drawTwo(dice: Dice, plan: JobPlan, n: number): [JobEdition, JobEdition] {
  const [first] = plan.editions;
  if (dice.percent(50)) return [first, first];
  return [first, drawEdition(dice, n)];
}

function drawEdition(dice: Dice, n: number): JobEdition {
  const priority = dice.pick(priorityNames);
  const size = dice.percent(85) ? dice.below(300) : dice.percent(90) ? dice.below(8000) : dice.below(100_000);
  const form = dice.pick(["json", "json", "text", "raw"] as const);
  if (form === "json") return { priority, form, bytes: Buffer.from(JSON.stringify({ n, pad: hex(dice, size) })) };
  if (form === "text") return { priority, form, bytes: Buffer.from(`n=${n};${hex(dice, size)} äöü`) };
  // No UTF-8, whatever comes after.
  return { priority, form, bytes: Buffer.concat([Buffer.from(`n=${n};`), Buffer.from([0xff]), dice.bytes(size)]) };
}

function hex(dice: Dice, length: number): string {
  let text = "";
  while (text.length < length) text += dice.bits().toString(16).padStart(8, "0");
  return text.slice(0, length);
}

/** The number that every payload begins with; -1 where there is none. */
export function numberOf(payload: Uint8Array): number {
  const head = Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.byteLength, 24)).toString("latin1");
  return Number(/^(?:\{"n":|n=)(\d+)[,;}]/.exec(head)?.[1] ?? -1);
}

export function shaOf(payload: Uint8Array): string {
  return createHash("sha256").update(payload).digest("hex").slice(0, 16);
}

/** How long a job of type `slow` runs. */
export function slowMs(n: number): number {
  return 300 + ((n * 7919) % 2500);
}

/** How often a job of this type fails before it succeeds; Infinity: always. */
export function failuresOf(type: string): number {
  if (type === "doomed" || type === "hopeless") return Infinity;
  return Number(/^stumble-(\d)$/.exec(type)?.[1] ?? 0);
}
