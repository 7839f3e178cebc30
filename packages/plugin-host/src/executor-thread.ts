/**
 * The module an executor thread runs: start it with `new Worker(executorThreadUrl, { workerData })` from
 * node:worker_threads, on Node or Deno. It holds no credentials and opens nothing.
 */
import { setImmediate } from "node:timers";
import { parentPort, workerData } from "node:worker_threads";
import { Executor } from "./executor.ts";
import { lowerPriority } from "./lower-priority.ts";
import { warmUp } from "./warm-up.ts";
import type { ExecutorData, ExecutorReply, ExecutorRequest } from "./executor-protocol.ts";

const port = parentPort;
if (!port) throw new Error("executor-thread.ts runs inside a worker thread only");
const data = (workerData ?? {}) as ExecutorData;

const executor = new Executor(
  {
    reply: (message: ExecutorReply, transfer) => port.postMessage(message, transfer),
    breathe: () => new Promise((resolve) => setImmediate(() => resolve())),
  },
  data.progress,
);
await warmUp();
if (data.nice !== undefined) lowerPriority(data.nice);
// Deno's own port looks for further ports among all properties of a message, and takes each byte of a module for one: 50 times
// its size in memory.
if ("Deno" in globalThis) {
  globalThis.addEventListener("message", (event) => executor.take((event as MessageEvent<ExecutorRequest>).data));
} else port.on("message", (request: ExecutorRequest) => executor.take(request));
port.postMessage({ kind: "ready" } satisfies ExecutorReply);
