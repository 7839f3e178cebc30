/** What one call of a plugin may take. Every figure is enforced by the host, whatever the module declares. */
export interface PluginLimits {
  /** The module's own linear memory, in WASM pages of 64 KiB. */
  readonly memoryPages: number;
  /** Entries of each of the module's tables. */
  readonly tableEntries: number;
  /** Wall time. A call that returns late has timed out; one that never returns is ended by the thread's owner. */
  readonly timeoutMs: number;
  readonly inputBytes: number;
  readonly outputBytes: number;
  /** Text kept of all log entries of one call; the rest is dropped and counted. */
  readonly logBytes: number;
  readonly logEntries: number;
  /** Names and values of all Extism variables. */
  readonly varBytes: number;
  /** Host memory handed out during one call. Freed blocks are not given back, so a loop of alloc and free ends too. */
  readonly hostBytes: number;
}

/** What stands where a manifest says nothing. */
export const defaultLimits: PluginLimits = {
  memoryPages: 256,
  tableEntries: 65_536,
  timeoutMs: 30_000,
  inputBytes: 8 * 1024 * 1024,
  outputBytes: 1024 * 1024,
  logBytes: 64 * 1024,
  logEntries: 256,
  varBytes: 1024 * 1024,
  hostBytes: 64 * 1024 * 1024,
};

/** Fills in the defaults. A figure of 0 means "the default", as it does in the manifest's protobuf. */
export function resolveLimits(limits: Partial<PluginLimits> = {}): PluginLimits {
  const given = Object.entries(limits).filter(([name, value]) => name in defaultLimits && value !== 0 && value != null);
  return { ...defaultLimits, ...Object.fromEntries(given) };
}
