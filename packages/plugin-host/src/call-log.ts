import type { LogEntry, LogLevel } from "./call-result.ts";
import { CallFailure } from "./call-failure.ts";
import type { PluginLimits } from "./plugin-limits.ts";

/** Entries that a call may write beyond those that are kept. More is no log but a flood, and ends the call. */
const MAX_DROPPED_ENTRIES = 10_000;

/** The log of one call, within its limits. */
export class CallLog {
  readonly #limits: PluginLimits;
  readonly #entries: LogEntry[] = [];
  #bytes = 0;
  #dropped = 0;

  constructor(limits: PluginLimits) {
    this.#limits = limits;
  }

  /**
   * Keeps an entry of `size` bytes if there is room. `read` is asked for the text only then.
   * @returns what the call ends with when far more was written than is kept
   */
  write(level: LogLevel, size: number, read: () => string): CallFailure | undefined {
    const { logEntries, logBytes } = this.#limits;
    if (this.#entries.length < logEntries && this.#bytes + size <= logBytes) {
      this.#bytes += size;
      this.#entries.push({ level, text: read() });
    } else if (++this.#dropped > MAX_DROPPED_ENTRIES) {
      const figure = this.#entries.length + this.#dropped;
      const limit = this.#entries.length + MAX_DROPPED_ENTRIES;
      const breach = { resource: "logs", figure, limit, unit: "entries" } as const;
      return new CallFailure("HOST_DENIED", `a flood of ${figure} log entries; the limit is ${limit}`, breach);
    }
    return undefined;
  }

  /** What was kept, and a last entry that says what was not. */
  entries(): readonly LogEntry[] {
    if (this.#dropped === 0) return this.#entries;
    const { logBytes, logEntries } = this.#limits;
    const text = `${this.#dropped} log entries dropped: the limits are ${logEntries} entries and ${logBytes} bytes`;
    return [...this.#entries, { level: "warn", text }];
  }
}
