import type { ErrorDetail } from "@millrace/protocol";
import type { CallResult } from "./call-result.ts";
import type { CallContext, HostAnswer, HostAsk } from "./host-calls.ts";
import type { LoadOptions } from "./load-plugin.ts";
import type { PreparedModule } from "./prepare-module.ts";

/** One call for an executor thread. */
export interface ExecutorCall {
  /** Chosen by the sender, unique among its open calls: 1 to 2^31 - 1, so that it fits the progress cell. */
  readonly callId: number;
  /** The key under which the module was loaded. */
  readonly sha256: string;
  readonly exportName: string;
  readonly input: Uint8Array;
  readonly timeoutMs: number;
  /** For `millrace:host/job`. */
  readonly context?: CallContext;
  /** Keeps what the call learns from outside, as its result's recording. */
  readonly record?: boolean;
}

/**
 * To the thread. Messages are taken in order: a `run` behind a `load` finds the module loaded. A module that one thread has
 * prepared is loaded by another without that work.
 */
export type ExecutorRequest =
  | ({ readonly kind: "load"; readonly sha256: string; readonly module: Uint8Array | PreparedModule } & LoadOptions)
  | { readonly kind: "unload"; readonly sha256: string }
  | { readonly kind: "run"; readonly calls: readonly ExecutorCall[] }
  | ({ readonly kind: "answer"; readonly callId: number; readonly ask: number } & HostAnswer)
  /** Ends a call that waits, or that has not begun, as CANCELLED. One that executes is not reached. */
  | { readonly kind: "cancel"; readonly callId: number };

export interface ExecutorResult {
  readonly callId: number;
  readonly result: CallResult;
}

/** From the thread. Output buffers are transferred. */
export type ExecutorReply =
  | { readonly kind: "ready" }
  | {
      readonly kind: "loaded";
      readonly sha256: string;
      readonly ok: true;
      /** Whether its calls may wait for answers, so that many of them can be open at once. */
      readonly waits: boolean;
      /** When this thread has prepared the module: for the other threads. */
      readonly prepared?: PreparedModule;
    }
  | { readonly kind: "loaded"; readonly sha256: string; readonly ok: false; readonly problems: readonly ErrorDetail[] }
  | { readonly kind: "done"; readonly results: readonly ExecutorResult[] }
  /** A call wants something of its worker. `ask` is unique among the call's asks. Only `progress` is not answered. */
  | ({ readonly kind: "ask"; readonly callId: number; readonly ask: number } & HostAsk);

/** What the thread is started with. */
export interface ExecutorData {
  /** Made by createProgress; a watchdog reads it while the thread is deaf. */
  readonly progress?: SharedArrayBuffer;
  /** Its nice value, 0 to 19, where a thread can have one of its own. Left out, it is that of the process. */
  readonly nice?: number;
}

/** Where a thread stands, as its watchdog sees it. */
export interface ExecutorProgress {
  /** The call that executes; undefined between calls, and while all open calls wait for answers. */
  readonly callId: number | undefined;
  /** Calls begun or resumed since the thread started (wraps at 2^31): the same figure twice means the same stretch. */
  readonly begun: number;
}

const cells = { callId: 0, begun: 1 } as const;

export function createProgress(): SharedArrayBuffer {
  return new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT);
}

export function readProgress(progress: SharedArrayBuffer): ExecutorProgress {
  const view = new Int32Array(progress);
  const callId = Atomics.load(view, cells.callId);
  return { callId: callId === 0 ? undefined : callId, begun: Atomics.load(view, cells.begun) };
}

/** Called by the thread: `callId` begins or goes on, or, with 0, it has ended or waits. */
export function writeProgress(progress: SharedArrayBuffer, callId: number): void {
  const view = new Int32Array(progress);
  Atomics.store(view, cells.callId, callId);
  if (callId !== 0) Atomics.store(view, cells.begun, (Atomics.load(view, cells.begun) + 1) & 0x7fff_ffff);
}

/** The module to start a `node:worker_threads` Worker from, on Node and on Deno. */
export const executorThreadUrl: URL = new URL("./executor-thread.ts", import.meta.url);
