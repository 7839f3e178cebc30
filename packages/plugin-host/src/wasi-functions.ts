import type { CallContext, ExtismPluginOptions } from "@extism/extism";
import type { CallState } from "./call-state.ts";

type HostFunctions = NonNullable<ExtismPluginOptions["functions"]>[string];

/** Error numbers of WASI preview 1 (https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#errno). */
const errno = { success: 0, badFile: 8, invalid: 28, notSupported: 52 } as const;
const MAX_RANDOM_BYTES = 65_536;

/**
 * WASI's minimum: no files, no arguments, no environment. Standard output and error become log entries; the clock and
 * random numbers are real. Any other function answers "not supported".
 */
export function wasiFunctions(
  state: CallState,
  memoryOf: () => WebAssembly.Memory | undefined,
  imported: Iterable<string>,
): HostFunctions {
  const bytes = () => new Uint8Array(memoryOf()?.buffer ?? new ArrayBuffer(0));
  const view = () => new DataView(memoryOf()?.buffer ?? new ArrayBuffer(0));
  const noneCounted = (_context: CallContext, count: number, size: number) => {
    view().setUint32(count >>> 0, 0, true);
    view().setUint32(size >>> 0, 0, true);
    return errno.success;
  };
  const known: HostFunctions = {
    args_sizes_get: noneCounted,
    args_get: () => errno.success,
    environ_sizes_get: noneCounted,
    environ_get: () => errno.success,
    clock_res_get: (_context: CallContext, _clock: number, result: number) => {
      view().setBigUint64(result >>> 0, 1_000_000n, true);
      return errno.success;
    },
    clock_time_get: (_context: CallContext, clock: number, _precision: bigint, result: number) => {
      state.checkDeadline();
      const ms = clock === 0 ? Date.now() : performance.now();
      view().setBigUint64(result >>> 0, BigInt(Math.round(ms * 1000)) * 1000n, true);
      return errno.success;
    },
    random_get: (_context: CallContext, address: number, length: number) => {
      state.checkDeadline();
      if (length >>> 0 > MAX_RANDOM_BYTES) return errno.invalid;
      const target = bytes().subarray(address >>> 0, (address >>> 0) + (length >>> 0));
      crypto.getRandomValues(target);
      return errno.success;
    },
    fd_write: (_context: CallContext, file: number, vectors: number, count: number, result: number) => {
      if (file !== 1 && file !== 2) return errno.badFile;
      const written = readVectors(view(), vectors >>> 0, count >>> 0);
      const size = written.reduce((sum, { length }) => sum + length, 0);
      state.log(file === 1 ? "info" : "error", size, () => {
        const decoder = new TextDecoder();
        return written
          .map(({ at, length }) => decoder.decode(bytes().subarray(at, at + length), { stream: true }))
          .join("");
      });
      view().setUint32(result >>> 0, size, true);
      return errno.success;
    },
    fd_read: (_context: CallContext, file: number, _vectors: number, _count: number, result: number) => {
      if (file !== 0) return errno.badFile;
      view().setUint32(result >>> 0, 0, true);
      return errno.success;
    },
    fd_close: () => errno.badFile,
    fd_seek: () => errno.badFile,
    fd_fdstat_get: () => errno.badFile,
    fd_prestat_get: () => errno.badFile,
    fd_prestat_dir_name: () => errno.badFile,
    sched_yield: () => errno.success,
    proc_exit: (_context: CallContext, code: number) =>
      state.fail("TRAPPED", `the plugin ended itself by exit(${code})`),
  };
  const functions: HostFunctions = {};
  for (const name of imported) functions[name] = known[name] ?? (() => errno.notSupported);
  return functions;
}

/** Vectors that one write may carry: a bound on the work of a single host call. */
const MAX_VECTORS = 1024;

function readVectors(view: DataView, vectors: number, count: number): { at: number; length: number }[] {
  return Array.from({ length: Math.min(count, MAX_VECTORS) }, (_, index) => ({
    at: view.getUint32(vectors + index * 8, true),
    length: view.getUint32(vectors + index * 8 + 4, true),
  }));
}
