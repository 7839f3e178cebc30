import type { ErrorDetail } from "@millrace/protocol";
import type { ExecutorReply, ExecutorResult, HostAnswer, HostAsk, PreparedModule } from "@millrace/plugin-host";
import type { RunnableVersion } from "../plugins/runnable-version.ts";
import type { ExecutorChannel, ExecutorKind } from "./executor-channel.ts";
import type { PluginCall } from "./plugin-call.ts";
import { ProcessChannel } from "./process-channel.ts";
import { ThreadChannel } from "./thread-channel.ts";

export interface ExecutorEvents {
  onResults(executor: ExecutorHandle, results: readonly ExecutorResult[]): void;
  onAsk(call: PluginCall, ask: HostAsk): Promise<HostAnswer>;
  onLoaded(version: RunnableVersion, prepared: PreparedModule | undefined): void;
  onRefused(version: RunnableVersion, reason: string): void;
  /** It is gone, by its own doing or by a kill. */
  onGone(executor: ExecutorHandle, error: unknown): void;
}

const mostCallId = 2 ** 31 - 1;
/** An executor that says nothing for so long after its start will not come. */
const startTimeoutMs = 15_000;

/** The owner's side of one executor. */
export class ExecutorHandle {
  readonly open = new Map<number, PluginCall>();
  readonly loaded = new Map<string, RunnableVersion>();
  readonly #channel: ExecutorChannel;
  readonly #events: ExecutorEvents;
  readonly #ready = Promise.withResolvers<void>();
  #nextCall = 1;
  #begun = -1;
  #sinceMs = 0;
  #gone = false;
  /** Calls that wait for host functions. */
  waiting = 0;
  /** Modules that were sent and are not compiled yet. */
  loading = 0;
  /** Its owner ended it, for the sake of one call; no other is to blame. */
  killed = false;

  private constructor(kind: ExecutorKind, events: ExecutorEvents) {
    this.#events = events;
    const Channel = kind === "thread" ? ThreadChannel : ProcessChannel;
    this.#channel = new Channel({ onReply: (reply) => this.#receive(reply), onGone: (error) => this.#leave(error) });
  }

  /** Resolves when the executor takes calls. */
  static async start(kind: ExecutorKind, events: ExecutorEvents): Promise<ExecutorHandle> {
    const handle = new ExecutorHandle(kind, events);
    const timer = setTimeout(() => handle.#ready.reject(new Error("the executor did not start")), startTimeoutMs);
    try {
      await handle.#ready.promise;
      return handle;
    } catch (error) {
      await handle.end();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives the executor a version, if it lacks it. */
  load(version: RunnableVersion): void {
    if (this.loaded.has(version.key)) return;
    this.loaded.set(version.key, version);
    this.loading++;
    const { module, options, key } = version;
    this.#channel.post({ kind: "load", sha256: key, module, ...options }, []);
  }

  /** Sends a batch of calls; modules that the executor lacks go ahead of it. */
  run(calls: readonly PluginCall[]): void {
    let bytes = 0;
    for (const call of calls) {
      bytes += call.input.length;
      this.load(call.version);
    }
    // One buffer for all inputs, handed over: cloning views of the receive buffer would copy all of it for each.
    const packed = new Uint8Array(bytes);
    let at = 0;
    const nowMs = performance.now();
    const requests = calls.map((call) => {
      const callId = this.#nextCall;
      this.#nextCall = callId === mostCallId ? 1 : callId + 1;
      this.open.set(callId, call);
      call.sentMs = nowMs;
      const data = call.input;
      packed.set(data, at);
      return call.request(callId, packed.subarray(at, (at += data.length)));
    });
    this.#channel.post({ kind: "run", calls: requests }, [packed.buffer]);
  }

  get name(): string {
    return this.#channel.name;
  }

  /** Calls that execute, or are going to. */
  get busy(): number {
    return this.open.size - this.waiting;
  }

  /** Ends a call that waits or has not begun; one that executes is not reached, and ends by the watchdog. */
  cancel(call: PluginCall): void {
    call.cancelledMs = performance.now();
    for (const [callId, open] of this.open) if (open === call) this.drop(callId);
  }

  /** The executor may forget a call, and need not answer it. */
  drop(callId: number): void {
    this.#channel.post({ kind: "cancel", callId }, []);
  }

  /** A call has come to its end here, or goes elsewhere. @returns undefined when it has done so before */
  take(callId: number): PluginCall | undefined {
    const call = this.open.get(callId);
    if (call === undefined) return undefined;
    this.open.delete(callId);
    if (call.asks > 0) this.waiting--;
    call.close();
    return call;
  }

  /** Lets the executor forget a version; calls that were sent before still find it. */
  unload(key: string): void {
    if (this.loaded.delete(key)) this.#channel.post({ kind: "unload", sha256: key }, []);
  }

  /** The call that executes, and for how long we have seen it do so. */
  running(nowMs: number): { call: PluginCall; forMs: number } | undefined {
    const { callId, begun } = this.#channel.progress();
    if (callId === undefined) return undefined;
    if (begun !== this.#begun) {
      this.#begun = begun;
      this.#sinceMs = nowMs;
    }
    const call = this.open.get(callId);
    return call === undefined ? undefined : { call, forMs: nowMs - this.#sinceMs };
  }

  /** The call that took the executor down with it, as far as that can be known. */
  suspect(): PluginCall | undefined {
    if (this.killed) return undefined;
    const running = this.running(performance.now())?.call;
    if (running !== undefined) return running;
    // Calls begin in their order, and a process tells a little late what it executes.
    for (const call of this.open.values()) if (call.asks === 0) return call;
    return undefined;
  }

  /** Ends it, whatever it does. */
  async end(): Promise<void> {
    this.#gone = true;
    await this.#channel.end();
  }

  #receive(reply: ExecutorReply): void {
    switch (reply.kind) {
      case "ready":
        return this.#ready.resolve();
      case "done":
        return this.#events.onResults(this, reply.results);
      case "ask":
        return void this.#answer(reply);
      case "loaded":
        return this.#loaded(reply);
    }
  }

  #loaded(reply: Extract<ExecutorReply, { kind: "loaded" }>): void {
    this.loading--;
    const version = this.loaded.get(reply.sha256);
    if (version === undefined) return;
    if (reply.ok) return this.#events.onLoaded(version, reply.prepared);
    this.loaded.delete(reply.sha256);
    this.#events.onRefused(version, words(reply.problems));
  }

  async #answer({ callId, ask, ...question }: Extract<ExecutorReply, { kind: "ask" }>): Promise<void> {
    const call = this.open.get(callId);
    if (call === undefined) return;
    if (question.function === "progress") return void (await this.#events.onAsk(call, question));
    call.askedMs = Math.min(call.askedMs, performance.now());
    if (call.asks++ === 0) this.waiting++;
    const answer = await this.#events.onAsk(call, question);
    if (this.#gone || this.open.get(callId) !== call) return;
    if (--call.asks === 0) this.waiting--;
    // An ArrayBuffer of its own goes over without a copy.
    const { body } = "meta" in answer ? answer : {};
    const whole =
      body?.buffer instanceof ArrayBuffer && body.byteLength === body.buffer.byteLength ? [body.buffer] : [];
    this.#channel.post({ kind: "answer", callId, ask, ...answer }, whole);
  }

  #leave(error: unknown): void {
    this.#ready.reject(error);
    if (this.#gone) return;
    this.#gone = true;
    this.#events.onGone(this, error);
  }
}

function words(problems: readonly ErrorDetail[]): string {
  return problems.map(({ field, reason }) => `${field}: ${reason}`).join("; ");
}
