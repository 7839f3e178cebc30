import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PluginLimitsSchema } from "@millrace/protocol";

/** What one call of a plugin may take. Every figure is enforced by the host, whatever the module declares. */
export interface PluginLimits {
  /** Units of work: about one for each WASM instruction. The same call takes the same on every engine. */
  readonly fuel: number;
  /** The module's own linear memory, in WASM pages of 64 KiB. */
  readonly memoryPages: number;
  /** Entries of each of the module's tables. */
  readonly tableEntries: number;
  /** Calls of the module's functions inside each other. */
  readonly callDepth: number;
  /**
   * Wall time, waiting included. A call that returns late has timed out; one that executes and never returns is ended by
   * the thread's owner.
   */
  readonly timeoutMs: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Text kept of all log entries of one call; the rest is dropped and counted, and a flood ends the call. */
  readonly logBytes: number;
  readonly logEntries: number;
  /** Names and values of all Extism variables. */
  readonly varBytes: number;
  /** Host memory handed out during one call. Freed blocks are not given back, so a loop of alloc and free ends too. */
  readonly hostBytes: number;
  /** Calls of host functions that leave the sandbox: http, kv, secrets, events, jobs. */
  readonly hostCalls: number;
}

/** What stands where a manifest says nothing. */
export const defaultLimits: PluginLimits = {
  // 3 to 20 s of a core: 1e9 takes 50 to 400 ms, the most in loops that do nothing.
  fuel: 50_000_000_000,
  memoryPages: 256,
  tableEntries: 65_536,
  callDepth: 5000,
  timeoutMs: 30_000,
  inputBytes: 8 * 1024 * 1024,
  outputBytes: 1024 * 1024,
  logBytes: 64 * 1024,
  logEntries: 256,
  varBytes: 1024 * 1024,
  hostBytes: 64 * 1024 * 1024,
  hostCalls: 1000,
};

/** Fills in the defaults. A figure of 0 means "the default", as it does in the manifest's protobuf. */
export function resolveLimits(limits: Partial<PluginLimits> = {}): PluginLimits {
  const given = Object.entries(limits).filter(([name, value]) => name in defaultLimits && value !== 0 && value != null);
  return { ...defaultLimits, ...Object.fromEntries(given) };
}

/** The limits of a manifest as loadPlugin takes them. */
export function manifestLimits(limits: MessageInitShape<typeof PluginLimitsSchema> | undefined): Partial<PluginLimits> {
  const { timeoutMs = 0, memoryPages = 0, outputBytes = 0, logBytes = 0, fuel = 0n } = limits ?? {};
  const { tableEntries = 0, callDepth = 0, hostCalls = 0, varBytes = 0 } = limits ?? {};
  const figures = { timeoutMs, memoryPages, outputBytes, logBytes, tableEntries, callDepth, hostCalls, varBytes };
  return { ...figures, fuel: Number(fuel) };
}
