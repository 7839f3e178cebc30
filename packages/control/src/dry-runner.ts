import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { MillraceError, type ErrorDetail, type PluginManifest } from "@millrace/protocol";
import {
  capabilitiesOf,
  executorThreadUrl,
  manifestLimits,
  refusedCall,
  type CallResult,
  type ExecutorReply,
  type ExecutorRequest,
  type HostFailure,
} from "@millrace/plugin-host";

export interface DryRun {
  readonly module: Uint8Array;
  readonly manifest: PluginManifest;
  readonly exportName: string;
  readonly input: Uint8Array;
  /** 0: the plugin's own limit. */
  readonly timeoutMs: number;
}

const defaultTimeoutMs = 10_000;
/** No caller waits longer, whatever the manifest says. */
const mostTimeoutMs = 60_000;
/** The plugin's own clock goes first; this is for one that does not look at it. */
const graceMs = 250;
const loadTimeoutMs = 15_000;
const mostWaiting = 32;

const failure: HostFailure = {
  code: "HOST_DENIED",
  message: "a dry run reaches nothing outside of the sandbox",
  fatal: true,
};

/** Runs plugins outside any queue, each in a new thread that is killed afterwards. They reach nothing outside of it. */
export class DryRunner implements AsyncDisposable {
  readonly #most: number;
  readonly #threads = new Set<Worker>();
  #running = 0;
  #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Loads the module and runs nothing. @returns why it cannot be loaded */
  check(module: Uint8Array, manifest: PluginManifest): Promise<readonly ErrorDetail[]> {
    return this.#inThread(async (thread) => (await load(thread, module, manifest)) ?? []);
  }

  run(run: DryRun): Promise<CallResult> {
    return this.#inThread(async (thread) => {
      const problems = await load(thread, run.module, run.manifest);
      if (problems !== undefined) {
        const words = problems.map(({ field, reason }) => `${field}: ${reason}`).join("; ");
        throw new MillraceError("failed_precondition", `the plugin cannot be loaded: ${words}`, { details: problems });
      }
      const timeoutMs = Math.min(run.timeoutMs || run.manifest.limits?.timeoutMs || defaultTimeoutMs, mostTimeoutMs);
      const { exportName, input } = run;
      const startedAt = performance.now();
      const asked: ExecutorRequest = {
        kind: "run",
        calls: [{ callId: 1, sha256: "dry-run", exportName, input, timeoutMs }],
      };
      thread.postMessage(asked);
      const untilMs = startedAt + timeoutMs + graceMs;
      let reply = await nextReply(thread, timeoutMs + graceMs);
      while (reply?.kind === "ask") {
        const { callId, ask } = reply;
        const denied: ExecutorRequest = { kind: "answer", callId, ask, failure };
        // Nobody waits for the answer to a progress.
        if (reply.function !== "progress") thread.postMessage(denied);
        reply = await nextReply(thread, Math.max(0, untilMs - performance.now()));
      }
      const result = reply?.kind === "done" ? reply.results[0]?.result : undefined;
      if (result !== undefined) return result;
      const durationUs = Math.round((performance.now() - startedAt) * 1000);
      return { ...refusedCall("TIMED_OUT", `ran longer than ${timeoutMs} ms and was stopped`), durationUs };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const resolve of this.#waiting.splice(0)) resolve();
    await Promise.all([...this.#threads].map((thread) => thread.terminate()));
  }

  async #inThread<T>(work: (thread: Worker) => Promise<T>): Promise<T> {
    if (this.#waiting.length >= mostWaiting) {
      throw new MillraceError("resource_exhausted", `${mostWaiting} dry runs wait`, { retryAfterMs: 1000 });
    }
    while (this.#running >= this.#most) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise;
    }
    this.#running++;
    const thread = new Worker(executorThreadUrl, {
      env: {},
      // Extism loads node:wasi, of which Node warns on the terminal for each thread.
      execArgv: ["--disable-warning=ExperimentalWarning"],
    });
    this.#threads.add(thread);
    try {
      return await work(thread);
    } finally {
      this.#threads.delete(thread);
      await thread.terminate();
      this.#running--;
      this.#waiting.shift()?.();
    }
  }
}

/** @returns why not; undefined when it is loaded */
async function load(
  thread: Worker,
  module: Uint8Array,
  manifest: PluginManifest,
): Promise<readonly ErrorDetail[] | undefined> {
  const { name, version, limits, stateful, config, capabilities } = manifest;
  const ready = await nextReply(thread, loadTimeoutMs);
  if (ready?.kind !== "ready") throw new MillraceError("unavailable", "the thread for dry runs does not start");
  const asked: ExecutorRequest = {
    kind: "load",
    sha256: "dry-run",
    module,
    name,
    version,
    stateful,
    config,
    limits: manifestLimits(limits),
    // Whatever is declared: so that a plugin hears why it is denied.
    granted: capabilitiesOf(capabilities),
  };
  thread.postMessage(asked);
  const reply = await nextReply(thread, loadTimeoutMs);
  if (reply?.kind !== "loaded") return [{ field: "module", reason: `does not load within ${loadTimeoutMs} ms` }];
  return reply.ok ? undefined : reply.problems;
}

/** @returns undefined when none comes in time, or the thread died */
async function nextReply(thread: Worker, timeoutMs: number): Promise<ExecutorReply | undefined> {
  const over = new AbortController();
  const timer = setTimeout(() => over.abort(), timeoutMs);
  const onExit = (): void => over.abort();
  thread.once("exit", onExit);
  try {
    const [reply] = (await once(thread, "message", { signal: over.signal })) as [ExecutorReply];
    return reply;
  } catch (error) {
    if (over.signal.aborted) return undefined;
    throw error;
  } finally {
    clearTimeout(timer);
    thread.off("exit", onExit);
  }
}
