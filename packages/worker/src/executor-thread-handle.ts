import { Worker } from "node:worker_threads";
import {
  createProgress,
  executorThreadUrl,
  readProgress,
  type ExecutorReply,
  type ExecutorRequest,
  type ExecutorResult,
} from "@millrace/plugin-host";
import type { Job } from "./job.ts";
import type { PluginVersion } from "./plugin-catalog.ts";

/** A call that a thread was given. */
export interface OpenCall {
  readonly job: Job;
  readonly version: PluginVersion;
  readonly exportName: string;
  readonly timeoutMs: number;
}

export interface ThreadEvents {
  onResults(thread: ExecutorThreadHandle, results: readonly ExecutorResult[]): void;
  onRefused(key: string, reason: string): void;
  /** The thread is gone, by its own doing or by a kill. */
  onGone(thread: ExecutorThreadHandle, error: unknown): void;
}

const mostCallId = 2 ** 31 - 1;
/** A thread that says nothing for so long after its start will not come. */
const startTimeoutMs = 15_000;

/** The owner's side of one executor thread. */
export class ExecutorThreadHandle {
  readonly open = new Map<number, OpenCall>();
  readonly loaded = new Map<string, PluginVersion>();
  readonly #worker: Worker;
  readonly #progress: SharedArrayBuffer;
  readonly #events: ThreadEvents;
  #nextCall = 1;
  #begun = -1;
  #sinceMs = 0;
  #gone = false;

  private constructor(events: ThreadEvents) {
    this.#events = events;
    this.#progress = createProgress();
    // Nothing of the process's environment: the thread runs other people's code.
    this.#worker = new Worker(executorThreadUrl, {
      workerData: { progress: this.#progress },
      env: {},
      name: "executor",
      // Extism loads node:wasi, of which Node warns on the terminal for each thread; Deno does not, and takes no flags.
      ...("Deno" in globalThis ? {} : { execArgv: ["--disable-warning=ExperimentalWarning"] }),
    });
  }

  /** Resolves when the thread takes calls. */
  static async start(events: ThreadEvents): Promise<ExecutorThreadHandle> {
    const handle = new ExecutorThreadHandle(events);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Error("executor thread did not start")), startTimeoutMs);
    handle.#worker.on("message", (reply: ExecutorReply) =>
      reply.kind === "ready" ? resolve() : handle.#receive(reply),
    );
    handle.#worker.on("error", (error) => {
      reject(error);
      handle.#leave(error);
    });
    handle.#worker.on("exit", (code) => {
      reject(new Error(`executor thread exited with ${code}`));
      handle.#leave(new Error(`executor thread exited with ${code}`));
    });
    try {
      await promise;
      return handle;
    } catch (error) {
      await handle.end();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a batch of calls; modules that the thread lacks go ahead of it. */
  run(calls: readonly OpenCall[]): void {
    let bytes = 0;
    for (const { version, job } of calls) {
      bytes += job.delivery.data.length;
      if (this.loaded.has(version.key)) continue;
      const { manifest } = version.plugin;
      const limits = manifest?.limits;
      this.loaded.set(version.key, version);
      this.#say({
        kind: "load",
        sha256: version.key,
        module: version.module,
        stateful: manifest?.stateful ?? false,
        ...(limits === undefined
          ? {}
          : {
              limits: {
                timeoutMs: limits.timeoutMs,
                memoryPages: limits.memoryPages,
                outputBytes: limits.outputBytes,
                logBytes: limits.logBytes,
              },
            }),
      });
    }
    // One buffer for all inputs, handed over: cloning views of the receive buffer would copy all of it for each.
    const packed = new Uint8Array(bytes);
    let at = 0;
    const request = calls.map((call) => {
      const callId = this.#nextCall;
      this.#nextCall = callId === mostCallId ? 1 : callId + 1;
      this.open.set(callId, call);
      const { data } = call.job.delivery;
      packed.set(data, at);
      const input = packed.subarray(at, (at += data.length));
      return { callId, sha256: call.version.key, exportName: call.exportName, input, timeoutMs: call.timeoutMs };
    });
    this.#say({ kind: "run", calls: request }, [packed.buffer]);
  }

  /** Lets the thread forget a version; calls that were sent before still find it. */
  unload(key: string): void {
    if (this.loaded.delete(key)) this.#say({ kind: "unload", sha256: key });
  }

  /** The call that runs, and for how long we have seen it run. */
  running(nowMs: number): { call: OpenCall; forMs: number } | undefined {
    const { callId, begun } = readProgress(this.#progress);
    if (callId === undefined) return undefined;
    if (begun !== this.#begun) {
      this.#begun = begun;
      this.#sinceMs = nowMs;
    }
    const call = this.open.get(callId);
    return call === undefined ? undefined : { call, forMs: nowMs - this.#sinceMs };
  }

  /** Ends the thread, whatever it does. */
  async end(): Promise<void> {
    this.#gone = true;
    await this.#worker.terminate();
  }

  #say(request: ExecutorRequest, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(request, transfer);
  }

  #receive(reply: ExecutorReply): void {
    if (reply.kind === "done") this.#events.onResults(this, reply.results);
    else if (reply.kind === "loaded" && !reply.ok) {
      this.loaded.delete(reply.sha256);
      this.#events.onRefused(reply.sha256, reply.problems.map(({ field, reason }) => `${field}: ${reason}`).join("; "));
    }
  }

  #leave(error: unknown): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#events.onGone(this, error);
  }
}
