import type { CallContext, ExtismPluginOptions } from "@extism/extism";
import type { CallState } from "./call-state.ts";

type HostFunctions = NonNullable<ExtismPluginOptions["functions"]>[string];

/** Error numbers of WASI preview 1 (https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md#errno). */
const errno = { success: 0, badFile: 8, invalid: 28, notSupported: 52 } as const;
const MAX_RANDOM_BYTES = 65_536;
/** What one of the fd_write vectors costs, in fuel. */
const VECTOR_FUEL = 500;
/** What random numbers take beyond other values from outside, 2.5 us. */
const RANDOM_FUEL = 23_000;
const REALTIME_CLOCK = 0;

/**
 * WASI's minimum: no files, no arguments, no environment. Standard output and error become log entries; the clock and
 * random numbers are real.
 */
export function wasiFunctions(state: CallState, memoryOf: () => WebAssembly.Memory | undefined): HostFunctions {
  const bytes = () => new Uint8Array(memoryOf()?.buffer ?? new ArrayBuffer(0));
  const view = () => new DataView(memoryOf()?.buffer ?? new ArrayBuffer(0));
  const noneCounted = (_context: CallContext, count: number, size: number) => {
    view().setUint32(count >>> 0, 0, true);
    view().setUint32(size >>> 0, 0, true);
    return errno.success;
  };
  const badFile = () => errno.badFile;
  return {
    args_sizes_get: noneCounted,
    args_get: () => errno.success,
    environ_sizes_get: noneCounted,
    environ_get: () => errno.success,
    clock_res_get: (_context: CallContext, _clock: number, result: number) => {
      view().setBigUint64(result >>> 0, 1_000_000n, true);
      return errno.success;
    },
    clock_time_get: (_context: CallContext, clock: number, _precision: bigint, result: number) => {
      bytes().set(
        state.learn("clock", () => readClock(clock)),
        result >>> 0,
      );
      return errno.success;
    },
    random_get: (_context: CallContext, address: number, length: number) => {
      const size = length >>> 0;
      if (size > MAX_RANDOM_BYTES) return errno.invalid;
      state.spend(RANDOM_FUEL + size);
      const random = state.learn("random", () => crypto.getRandomValues(new Uint8Array(size)));
      bytes().set(random, address >>> 0);
      return errno.success;
    },
    fd_write: (_context: CallContext, file: number, vectors: number, count: number, result: number) => {
      if (file !== 1 && file !== 2) return errno.badFile;
      const written = readVectors(view(), vectors >>> 0, count >>> 0);
      state.spend(written.length * VECTOR_FUEL);
      const size = written.reduce((sum, { length }) => sum + length, 0);
      state.writeLog(file === 1 ? "info" : "error", size, () => {
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
    fd_close: badFile,
    fd_seek: badFile,
    fd_fdstat_get: badFile,
    fd_fdstat_set_flags: badFile,
    fd_prestat_get: badFile,
    fd_prestat_dir_name: badFile,
    // Nothing to poll and no sleep; compilers import it whether or not it is called.
    poll_oneoff: () => errno.notSupported,
    sched_yield: () => errno.success,
    proc_exit: (_context: CallContext, code: number) =>
      state.fail("TRAPPED", `the plugin ended itself by exit(${code})`),
  };
}

/** Nanoseconds as u64 LE, to the microsecond. */
function readClock(clock: number): Uint8Array {
  const ms = clock === REALTIME_CLOCK ? Date.now() : performance.now();
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.round(ms * 1000)) * 1000n, true);
  return bytes;
}

/** Vectors that one write may carry: a bound on the work of a single host call. */
const MAX_VECTORS = 1024;

function readVectors(view: DataView, vectors: number, count: number): { at: number; length: number }[] {
  return Array.from({ length: Math.min(count, MAX_VECTORS) }, (_, index) => ({
    at: view.getUint32(vectors + index * 8, true),
    length: view.getUint32(vectors + index * 8 + 4, true),
  }));
}
