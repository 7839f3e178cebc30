import type { Bus, BusLogger } from "@millrace/bus";
import { pluginQueues } from "@millrace/protocol";
import type { Metrics } from "@millrace/service-kit";
import type { JobHandler } from "./job-context.ts";
import { defaultExecutorKind, type ExecutorKind } from "./executors/executor-channel.ts";
import type { SignaturePolicy } from "./plugins/trusted-keys.ts";
import { defaultFloors, type Floors } from "./priority-floors.ts";

/** What a worker is started with. */
export interface WorkerOptions {
  /** Served in turns, with the same right. */
  readonly queues: readonly string[];
  /** Native handlers by job type. They go before plugins. */
  readonly handlers?: Readonly<Record<string, JobHandler>>;
  /** Where NATS is; the worker then opens and closes a connection of its own. */
  readonly natsUrl?: string;
  /** A connection that somebody else owns. */
  readonly bus?: Bus;
  /** Names the worker in events and commands: `[A-Za-z0-9_-]{1,64}`; random when left out. */
  readonly id?: string;
  /** Native handlers at one time. */
  readonly slots?: number;
  /** Slots beyond these that only critical jobs get. */
  readonly reservedSlots?: number;
  /** Threads for plugins; by default one, or none when there are native handlers. */
  readonly executors?: number;
  readonly floors?: Floors;
  /** The lease: so long after the last word of this worker, the job goes to another. */
  readonly ackWaitMs?: number;
  /** Bound on a native attempt that names none. */
  readonly handlerTimeoutMs?: number;
  /** How long running jobs may take to end when the worker stops. */
  readonly drainTimeoutMs?: number;
  /** With more queues than this, consumers are made for those only that something comes for, at the priorities at which it comes. */
  readonly mostAwakeQueues?: number;
  /** With so many queues: nothing came for this long at a priority, and the queue is only listened to at that one. */
  readonly queueIdleMs?: number;
  /** Jobs in hand, from pull to ack. */
  readonly mostHeld?: number;
  /** Deliveries that crashed a worker before a job is given up. */
  readonly crashLimit?: number;
  readonly maxResultBytes?: number;
  /** What plugins execute in. Threads are lighter; processes can be killed on Deno too, and take nothing down with them. */
  readonly executorKind?: ExecutorKind;
  /** Whether plugins without a signature run. */
  readonly pluginSignatures?: SignaturePolicy;
  /** Pages of 64 KiB that a call gets at most, whatever its manifest asks for. */
  readonly pluginMemoryPages?: number;
  /** `host:port` that plugins may reach by HTTP although their addresses are private. */
  readonly pluginHttpPrivate?: readonly string[];
  /** `address` or `address:port` of the name servers for what plugins call; none stands for the system's. */
  readonly pluginNameServers?: readonly string[];
  /** See SecretSources. */
  readonly secretsFile?: string | undefined;
  readonly logger?: BusLogger;
  readonly metrics?: Metrics;
}

/** The options with nothing left open. */
export type WorkerSettings = Required<Omit<WorkerOptions, "natsUrl" | "bus" | "logger" | "metrics" | "secretsFile">>;

/** 1 GiB: a manifest is its author's word, and one call more must not be what the machine cannot hold. */
export const defaultMemoryPages = 16_384;

const nameForm = /^[A-Za-z0-9_-]{1,64}$/;

/** @throws RangeError when something cannot be meant */
export function resolveWorkerOptions(options: WorkerOptions): WorkerSettings {
  const handlers = options.handlers ?? {};
  const executors = options.executors ?? (Object.keys(handlers).length > 0 ? 0 : 1);
  const settings: WorkerSettings = {
    // Who runs plugins also brings them events and scheduled tasks.
    queues: [...new Set([...options.queues, ...(executors > 0 ? Object.values(pluginQueues) : [])])],
    handlers,
    id: options.id ?? `w-${crypto.randomUUID().slice(0, 13)}`,
    slots: options.slots ?? 64,
    reservedSlots: options.reservedSlots ?? 1,
    executors,
    floors: options.floors ?? defaultFloors,
    ackWaitMs: options.ackWaitMs ?? 30_000,
    handlerTimeoutMs: options.handlerTimeoutMs ?? 300_000,
    drainTimeoutMs: options.drainTimeoutMs ?? 20_000,
    mostAwakeQueues: options.mostAwakeQueues ?? 200,
    queueIdleMs: options.queueIdleMs ?? 60_000,
    mostHeld: options.mostHeld ?? 8192,
    crashLimit: options.crashLimit ?? 5,
    maxResultBytes: options.maxResultBytes ?? 512 * 1024,
    executorKind: options.executorKind ?? defaultExecutorKind,
    pluginSignatures: options.pluginSignatures ?? "optional",
    pluginMemoryPages: options.pluginMemoryPages ?? defaultMemoryPages,
    pluginHttpPrivate: options.pluginHttpPrivate ?? [],
    pluginNameServers: options.pluginNameServers ?? [],
  };
  if (!nameForm.test(settings.id)) throw new RangeError(`worker id "${settings.id}"`);
  if (options.queues.length === 0) throw new RangeError("a worker needs a queue");
  if (settings.slots < 1 || settings.executors < 0) throw new RangeError("a worker needs slots");
  return settings;
}
