import type { JobErrorCode } from "@millrace/protocol";
import type { LogEntry, LogLevel } from "./call-result.ts";
import type { PluginLimits } from "./plugin-limits.ts";

/** Thrown through the module by a host function. The module may catch it, so it is also kept in CallState.breach. */
export class LimitBreach extends Error {
  override readonly name = "LimitBreach";
  readonly code: JobErrorCode;

  constructor(code: JobErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** A region of Extism host memory, as a module names it. */
export interface HostRegion {
  readonly address: bigint;
  readonly length: number;
}

/** Extism keeps the block's index in the upper 16 bits of an address: a further block would alias the first. */
const MAX_HOST_BLOCKS = 65_000;

/** What the host functions of one instance know about the call that runs, and what it has taken so far. */
export class CallState {
  readonly limits: PluginLimits;
  readonly variables = new Map<string, Uint8Array>();
  input: Uint8Array = new Uint8Array(0);
  inputView: DataView = new DataView(new ArrayBuffer(0));
  inputAddress: bigint | undefined;
  output: HostRegion | undefined;
  error: HostRegion | undefined;
  breach: LimitBreach | undefined;
  logs: LogEntry[] = [];
  #droppedLogs = 0;
  #logBytes = 0;
  #hostBytes = 0;
  #hostBlocks = 0;
  #variableBytes = 0;
  #deadline = Number.POSITIVE_INFINITY;
  #timeoutMs = 0;

  constructor(limits: PluginLimits) {
    this.limits = limits;
  }

  begin(input: Uint8Array, timeoutMs: number): void {
    this.input = input;
    this.inputView = new DataView(input.buffer, input.byteOffset, input.byteLength);
    this.inputAddress = undefined;
    this.output = undefined;
    this.error = undefined;
    this.breach = undefined;
    this.logs = [];
    this.#droppedLogs = 0;
    this.#logBytes = 0;
    this.#hostBytes = 0;
    this.#hostBlocks = 0;
    this.#timeoutMs = timeoutMs;
    this.#deadline = performance.now() + timeoutMs;
  }

  fail(code: JobErrorCode, message: string): never {
    this.breach = new LimitBreach(code, message);
    throw this.breach;
  }

  checkDeadline(): void {
    if (performance.now() > this.#deadline) this.fail("TIMED_OUT", `ran for more than ${this.#timeoutMs} ms`);
  }

  /** Accounts for a block of host memory, before it is made. */
  charge(bytes: number): void {
    this.checkDeadline();
    const limit = this.limits.hostBytes;
    // Written so that NaN and negative sizes fail too.
    if (!(bytes >= 0 && this.#hostBytes + bytes <= limit)) {
      this.fail("OUT_OF_MEMORY", `host memory: ${this.#hostBytes} + ${bytes} bytes; the limit is ${limit} a call`);
    }
    if (++this.#hostBlocks > MAX_HOST_BLOCKS) {
      this.fail("OUT_OF_MEMORY", `host memory: more than ${MAX_HOST_BLOCKS} blocks in one call`);
    }
    this.#hostBytes += bytes;
  }

  /** Keeps a log entry of `size` bytes if there is room. `read` is asked for the text only then. */
  log(level: LogLevel, size: number, read: () => string): void {
    this.checkDeadline();
    if (this.logs.length >= this.limits.logEntries || this.#logBytes + size > this.limits.logBytes) {
      this.#droppedLogs++;
      return;
    }
    this.#logBytes += size;
    this.logs.push({ level, text: read() });
  }

  takeLogs(): LogEntry[] {
    const logs = this.logs;
    this.logs = [];
    if (this.#droppedLogs > 0) {
      const { logBytes, logEntries } = this.limits;
      const text = `${this.#droppedLogs} log entries dropped: the limits are ${logEntries} entries and ${logBytes} bytes`;
      logs.push({ level: "warn", text });
    }
    return logs;
  }

  setVariable(name: string, value: Uint8Array | undefined): void {
    const nameBytes = name.length * 2;
    const old = this.variables.get(name);
    const before = old ? nameBytes + old.length : 0;
    const total = this.#variableBytes - before + (value ? nameBytes + value.length : 0);
    const limit = this.limits.varBytes;
    if (total > limit) this.fail("OUT_OF_MEMORY", `variables: ${total} bytes; the limit is ${limit}`);
    this.#variableBytes = total;
    if (value) this.variables.set(name, value);
    else this.variables.delete(name);
  }

  clearVariables(): void {
    this.variables.clear();
    this.#variableBytes = 0;
  }
}
