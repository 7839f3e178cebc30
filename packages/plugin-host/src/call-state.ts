import type { JobErrorCode } from "@millrace/protocol";
import type { Gauge } from "@millrace/wasm-meter";
import type { Breach } from "./breach.ts";
import type { CallAnswers } from "./call-answers.ts";
import { CallFailure, timedOut } from "./call-failure.ts";
import { CallLog } from "./call-log.ts";
import type { LogEntry, LogLevel } from "./call-result.ts";
import type { CallContext, HostAnswer, HostAsk, HostCalls, HostFunction } from "./host-calls.ts";
import type { PluginLimits } from "./plugin-limits.ts";
import type { ThreadTurn } from "./thread-turn.ts";

/** A region of Extism host memory, as a module names it. */
export interface HostRegion {
  readonly address: bigint;
  readonly length: number;
}

/** One call, as an instance is told of it. */
export interface InstanceCall {
  readonly input: Uint8Array;
  readonly timeoutMs: number;
  readonly answers: CallAnswers;
  readonly callId: number;
  readonly turn: ThreadTurn | undefined;
  readonly context: CallContext | undefined;
  readonly signal: AbortSignal | undefined;
  /** Asked before the call waits. @returns why it may not */
  readonly beforeWait: (() => CallFailure | undefined) | undefined;
}

/** Extism keeps the block's index in the upper 16 bits of an address: a further block would alias the first. */
const MAX_HOST_BLOCKS = 65_000;

/** What some work of host functions takes beyond HOST_CALL_FUEL, 800 ns or so each. */
const BLOCK_FUEL = 7000;
const LEARN_FUEL = 7000;
const LOG_FUEL = 9000;
const NO_BYTES = new Uint8Array(0);

/** What the host functions of one instance know about its call, and what the call has taken so far. */
export class CallState {
  readonly limits: PluginLimits;
  readonly variables = new Map<string, Uint8Array>();
  /** Set once the module is instantiated, before anything of it runs. */
  gauge: Gauge | undefined;
  call: InstanceCall;
  inputView: DataView = new DataView(new ArrayBuffer(0));
  inputAddress: bigint | undefined;
  output: HostRegion | undefined;
  error: HostRegion | undefined;
  /** What a host function has ended the call with. */
  failure: CallFailure | undefined;
  /** The last answer to an HTTP request. */
  http: { readonly status: number; readonly headers: object; readonly body: Uint8Array } | undefined;
  /** What the last host function that leaves the sandbox has failed with, as `CODE: message`. */
  lastError: string | undefined;
  #log: CallLog;
  #startedAt = 0;
  #executingSince = 0;
  #executedMs = 0;
  #fuelAtFailure: number | undefined;
  #hostCalls = 0;
  #hostBytes = 0;
  #hostBlocks = 0;
  #variableBytes = 0;

  constructor(limits: PluginLimits, call: InstanceCall) {
    this.limits = limits;
    this.call = call;
    this.#log = new CallLog(limits);
    this.begin(call);
  }

  begin(call: InstanceCall): void {
    const { input } = call;
    this.call = call;
    this.inputView = new DataView(input.buffer, input.byteOffset, input.byteLength);
    this.inputAddress = undefined;
    this.output = undefined;
    this.error = undefined;
    this.failure = undefined;
    this.http = undefined;
    this.lastError = undefined;
    this.#log = new CallLog(this.limits);
    this.#executedMs = 0;
    this.#fuelAtFailure = undefined;
    this.#hostCalls = 0;
    this.#hostBytes = 0;
    this.#hostBlocks = 0;
    this.#startedAt = performance.now();
    this.#executingSince = this.#startedAt;
    this.gauge?.begin(this.limits.fuel);
  }

  get durationMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** Without the time that the call has waited. */
  get executedMs(): number {
    return this.#executedMs + performance.now() - this.#executingSince;
  }

  get fuelUsed(): number {
    return this.#fuelAtFailure ?? this.gauge?.fuelUsed ?? 0;
  }

  /** Ends the call: a module that catches what is thrown finds no fuel to go on with. */
  end(failure: CallFailure): never {
    this.failure ??= failure;
    if (this.gauge && this.#fuelAtFailure === undefined) {
      this.#fuelAtFailure = this.gauge.fuelUsed;
      this.gauge.charge(this.gauge.fuelLeft + 1);
    }
    throw this.failure;
  }

  fail(code: JobErrorCode, message: string, breach?: Breach): never {
    this.end(new CallFailure(code, message, breach));
  }

  checkDeadline(): void {
    if (this.failure) throw this.failure;
    const { durationMs } = this;
    if (durationMs > this.call.timeoutMs) this.end(timedOut(durationMs, this.call.timeoutMs));
  }

  /** Charges a host function's own work beyond what each call of one costs. */
  spend(fuel: number): void {
    this.gauge?.charge(fuel);
  }

  writeLog(level: LogLevel, size: number, read: () => string): void {
    this.checkDeadline();
    this.spend(LOG_FUEL);
    const flood = this.#log.write(level, size, read);
    if (flood) this.end(flood);
  }

  get logs(): readonly LogEntry[] {
    return this.#log.entries();
  }

  /** A value from outside that is at hand. */
  learn(what: "clock" | "random" | "context", make: () => Uint8Array): Uint8Array {
    this.checkDeadline();
    this.spend(LEARN_FUEL);
    try {
      return this.call.answers.learn(what, make);
    } catch (error) {
      if (error instanceof CallFailure) this.end(error);
      throw error;
    }
  }

  /** Accounts for a block of host memory, before it is made. */
  charge(bytes: number): void {
    this.checkDeadline();
    this.spend(BLOCK_FUEL);
    const { hostBytes: limit } = this.limits;
    const figure = Math.min(this.#hostBytes + bytes, Number.MAX_SAFE_INTEGER);
    if (figure > limit) {
      const message = `host memory: ${this.#hostBytes} + ${bytes} bytes; the limit is ${limit} a call`;
      this.fail("OUT_OF_MEMORY", message, { resource: "host_memory", figure, limit, unit: "bytes" });
    }
    if (++this.#hostBlocks > MAX_HOST_BLOCKS) {
      const breach = {
        resource: "host_memory",
        figure: this.#hostBlocks,
        limit: MAX_HOST_BLOCKS,
        unit: "entries",
      } as const;
      this.fail("OUT_OF_MEMORY", `host memory: more than ${MAX_HOST_BLOCKS} blocks in one call`, breach);
    }
    this.#hostBytes = figure;
  }

  /**
   * Leaves the sandbox: waits for the worker's answer while other calls execute.
   * @returns undefined after a failure that the plugin may handle; lastError has it
   */
  async ask<F extends HostFunction>(
    ask: HostAsk & { readonly function: F },
  ): Promise<{ readonly meta: HostCalls[F]["answer"]; readonly body: Uint8Array } | undefined> {
    this.checkDeadline();
    const { hostCalls: limit } = this.limits;
    if (++this.#hostCalls > limit) {
      const breach = { resource: "host_calls", figure: this.#hostCalls, limit, unit: "calls" } as const;
      this.fail("HOST_DENIED", `${this.#hostCalls} calls of host functions; the limit is ${limit}`, breach);
    }
    this.lastError = undefined;
    const refused = this.call.beforeWait?.();
    if (refused) this.end(refused);
    const answer = await this.#suspended(this.call.answers.ask(ask));
    this.checkDeadline();
    if (!answer.failure) return { meta: answer.meta as HostCalls[F]["answer"], body: answer.body ?? NO_BYTES };
    const { code, message, breach, fatal } = answer.failure;
    if (fatal) this.fail(code, message, breach);
    this.lastError = `${code}: ${message}`;
    return undefined;
  }

  /** Lets others execute until the answer is there, the time is over or the call is cancelled. */
  async #suspended(answer: Promise<HostAnswer>): Promise<HostAnswer> {
    const { signal, timeoutMs, turn, callId } = this.call;
    const { promise: over, reject } = Promise.withResolvers<never>();
    // Timers count whole milliseconds, and must not fire too early.
    const leftMs = Math.ceil(Math.max(0, timeoutMs - this.durationMs));
    const timer = setTimeout(() => reject(timedOut(this.durationMs, timeoutMs)), leftMs);
    const cancel = () => reject(new CallFailure("CANCELLED", "cancelled while it waited for a host function"));
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel);
    this.#executedMs = this.executedMs;
    turn?.leave();
    try {
      return await Promise.race([answer, over]);
    } catch (error) {
      if (error instanceof CallFailure) this.failure ??= error;
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
      await turn?.take(callId);
      this.#executingSince = performance.now();
      if (this.failure) this.end(this.failure);
    }
  }

  setVariable(name: string, value: Uint8Array | undefined): void {
    const nameBytes = name.length * 2;
    const old = this.variables.get(name);
    const before = old ? nameBytes + old.length : 0;
    const figure = this.#variableBytes - before + (value ? nameBytes + value.length : 0);
    const limit = this.limits.varBytes;
    if (figure > limit) {
      const message = `variables: ${figure} bytes; the limit is ${limit}`;
      this.fail("OUT_OF_MEMORY", message, { resource: "variables", figure, limit, unit: "bytes" });
    }
    this.#variableBytes = figure;
    if (value) this.variables.set(name, value);
    else this.variables.delete(name);
  }

  /** What the call holds beside the module's own memory, as far as it is the guest's to say. */
  get heldBytes(): number {
    return this.call.input.length + this.#hostBytes + this.#variableBytes + (this.http?.body.length ?? 0);
  }

  clearVariables(): void {
    this.variables.clear();
    this.#variableBytes = 0;
  }
}
