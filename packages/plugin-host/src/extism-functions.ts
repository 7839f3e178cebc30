import type { CallContext, ExtismPluginOptions } from "@extism/extism";
import type { CallState, HostRegion } from "./call-state.ts";
import type { LogLevel } from "./call-result.ts";

type HostFunctions = NonNullable<ExtismPluginOptions["functions"]>[string];

const OFFSET_MASK = (1n << 48n) - 1n;
/** Extism's priority of "info"; a PDK asks, to leave lower entries out at the source. */
const INFO_PRIORITY = 2;
const MAX_NAME_BYTES = 1024;

/**
 * Our own versions of those functions of `extism:host/env` that spend something, keep something or reach out. What is
 * left to Extism reads and writes host memory only. Extism's own would count nothing, hand out whole blocks as output
 * whatever length was set, and follow redirects to private addresses.
 */
export function extismFunctions(state: CallState, config: ReadonlyMap<string, string>): HostFunctions {
  const store = (context: CallContext, bytes: Uint8Array): bigint => {
    state.charge(bytes.length);
    const address = context.alloc(bytes.length);
    viewOf(context, address).set(bytes);
    return address;
  };
  const readName = (context: CallContext, address: bigint): string => {
    const bytes = viewOf(context, address);
    if (bytes.length > MAX_NAME_BYTES) {
      state.fail("HOST_DENIED", `a name of ${bytes.length} bytes; the limit is ${MAX_NAME_BYTES}`);
    }
    return new TextDecoder().decode(bytes);
  };
  const log = (level: LogLevel) => (context: CallContext, address: bigint) => {
    const bytes = viewOf(context, address);
    state.log(level, bytes.length, () => new TextDecoder().decode(bytes));
  };

  return {
    alloc: (context: CallContext, size: bigint) => {
      state.charge(Number(size));
      return context.alloc(size);
    },
    input_length: () => BigInt(state.input.length),
    input_load_u8: (_context: CallContext, offset: bigint) => state.inputView.getUint8(Number(offset)),
    input_load_u64: (_context: CallContext, offset: bigint) => state.inputView.getBigUint64(Number(offset), true),
    input_offset: (context: CallContext) => (state.inputAddress ??= store(context, state.input)),
    output_set: (context: CallContext, address: bigint, length: bigint) => {
      state.output = region(context, address, Number(length));
      const limit = state.limits.outputBytes;
      if (state.output.length > limit) {
        state.fail("OUTPUT_TOO_LARGE", `output of ${state.output.length} bytes; the limit is ${limit}`);
      }
    },
    error_set: (context: CallContext, address: bigint) => {
      state.error = address === 0n ? undefined : region(context, address, viewOf(context, address).length);
    },
    error_get: () => state.error?.address ?? 0n,
    config_get: (context: CallContext, address: bigint) => {
      const value = config.get(readName(context, address));
      return value === undefined ? 0n : store(context, new TextEncoder().encode(value));
    },
    var_get: (context: CallContext, address: bigint) => {
      const value = state.variables.get(readName(context, address));
      return value === undefined ? 0n : store(context, value);
    },
    var_set: (context: CallContext, address: bigint, value: bigint) => {
      state.setVariable(readName(context, address), value === 0n ? undefined : viewOf(context, value).slice());
    },
    http_request: () => state.fail("HOST_DENIED", "http_request: plugins have no network access"),
    http_status_code: () => 0,
    http_headers: () => 0n,
    log_trace: log("trace"),
    log_debug: log("debug"),
    log_info: log("info"),
    log_warn: log("warn"),
    log_error: log("error"),
    get_log_level: () => INFO_PRIORITY,
  };
}

/** The bytes of the block at an address, in place. */
export function viewOf(context: CallContext, address: bigint): Uint8Array {
  const block = context.read(address);
  if (!block) throw new RangeError(`no block of host memory at address ${address}`);
  return block.bytes();
}

/** Copies a region, at most `limit` bytes of it. */
export function copyRegion(
  context: CallContext,
  { address, length }: HostRegion,
  limit: number,
): Uint8Array<ArrayBuffer> {
  const offset = Number(address & OFFSET_MASK);
  return Uint8Array.from(viewOf(context, address).subarray(offset, offset + Math.min(length, limit)));
}

function region(context: CallContext, address: bigint, length: number): HostRegion {
  const offset = Number(address & OFFSET_MASK);
  const size = viewOf(context, address).length;
  if (!(length >= 0 && offset + length <= size)) {
    throw new RangeError(`${length} bytes at offset ${offset} of a block of ${size} bytes of host memory`);
  }
  return { address, length };
}
