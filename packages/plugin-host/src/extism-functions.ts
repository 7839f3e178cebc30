import type { CallContext, ExtismPluginOptions } from "@extism/extism";
import type { CallState } from "./call-state.ts";
import type { LogLevel } from "./call-result.ts";
import { HostMemory, regionOf, viewOf } from "./host-memory.ts";

type HostFunctions = NonNullable<ExtismPluginOptions["functions"]>[string];

/** Extism's priority of "info"; a PDK asks, to leave lower entries out at the source. */
const INFO_PRIORITY = 2;
const MAX_NAME_BYTES = 1024;
/** What keeping a variable takes beside reading its name, 2 us. */
const VARIABLE_FUEL = 18_000;
const encoder = new TextEncoder();

/**
 * Our own versions of those functions of `extism:host/env` that spend something, keep something or reach out. What is
 * left to Extism reads and writes host memory only. Extism's own would count nothing, hand out whole blocks as output
 * whatever length was set, and follow redirects to private addresses.
 */
export function extismFunctions(state: CallState, config: ReadonlyMap<string, string>): HostFunctions {
  const memory = new HostMemory(state);
  const log = (level: LogLevel) => (context: CallContext, address: bigint) => memory.log(context, level, address);
  return {
    alloc: (context: CallContext, size: bigint) => {
      // As the guest means it: unsigned, so that no size is negative.
      state.charge(Number(BigInt.asUintN(64, size)));
      return context.alloc(size);
    },
    input_length: () => BigInt(state.call.input.length),
    input_load_u8: (_context: CallContext, offset: bigint) => state.inputView.getUint8(Number(offset)),
    input_load_u64: (_context: CallContext, offset: bigint) => state.inputView.getBigUint64(Number(offset), true),
    input_offset: (context: CallContext) => (state.inputAddress ??= memory.store(context, state.call.input)),
    output_set: (context: CallContext, address: bigint, length: bigint) => {
      state.output = regionOf(context, address, Number(length));
      const limit = state.limits.outputBytes;
      if (state.output.length > limit) {
        const figure = state.output.length;
        const breach = { resource: "output", figure, limit, unit: "bytes" } as const;
        state.fail("OUTPUT_TOO_LARGE", `output of ${figure} bytes; the limit is ${limit}`, breach);
      }
    },
    error_set: (context: CallContext, address: bigint) => {
      state.error = address === 0n ? undefined : regionOf(context, address, Number(context.length(address)));
    },
    error_get: () => state.error?.address ?? 0n,
    config_get: (context: CallContext, address: bigint) => {
      const value = config.get(memory.readText(context, address, MAX_NAME_BYTES));
      return value === undefined ? 0n : memory.store(context, encoder.encode(value));
    },
    var_get: (context: CallContext, address: bigint) => {
      const value = state.variables.get(memory.readText(context, address, MAX_NAME_BYTES));
      return value === undefined ? 0n : memory.store(context, value);
    },
    var_set: (context: CallContext, address: bigint, valueAddress: bigint) => {
      const name = memory.readText(context, address, MAX_NAME_BYTES);
      if (valueAddress === 0n) return state.setVariable(name, undefined);
      const value = viewOf(context, valueAddress);
      state.spend(VARIABLE_FUEL + value.length);
      state.setVariable(name, value.slice());
    },
    http_status_code: () => state.http?.status ?? 0,
    http_headers: (context: CallContext) =>
      state.http ? memory.store(context, encoder.encode(JSON.stringify(state.http.headers))) : 0n,
    log_trace: log("trace"),
    log_debug: log("debug"),
    log_info: log("info"),
    log_warn: log("warn"),
    log_error: log("error"),
    get_log_level: () => INFO_PRIORITY,
  };
}
