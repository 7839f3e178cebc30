import type { ExecutorProgress, ExecutorReply, ExecutorRequest } from "@millrace/plugin-host";

/** The way to one executor, whatever it runs in. */
export interface ExecutorChannel {
  /** For people: `thread 3`, `process 4711`. */
  readonly name: string;
  /** Messages arrive in order. Buffers in `transfer` are given away. */
  post(request: ExecutorRequest, transfer: ArrayBuffer[]): void;
  /** What it executes at this moment, known even while it hears nothing. */
  progress(): ExecutorProgress;
  /** Ends it, whatever it does. */
  end(): Promise<void>;
}

export interface ChannelEvents {
  onReply(reply: ExecutorReply): void;
  /** It has ended by itself; told at most once, and not after `end`. */
  onGone(error: unknown): void;
}

/** A thread is light and fast; a process can be killed where a thread cannot, and takes nothing with it. */
export type ExecutorKind = "thread" | "process";

/** Deno's threads burn on until the process dies. */
export const defaultExecutorKind: ExecutorKind = "Deno" in globalThis ? "process" : "thread";

/**
 * Other people's code goes after the worker's own thread, which keeps leases and runs native handlers, and after the broker: with
 * more to do than cores it gets about a third of an ordinary thread's share, and all of it when there is nothing else to do.
 */
export const executorNice = 5;
