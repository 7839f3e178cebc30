import { Gauge } from "../gauge.ts";
import { meter, type MeterOptions, type MeterReport } from "../meter.ts";
import type { MeterLimits } from "../meter-limits.ts";
import { compileWat } from "./compile-wat.ts";

export const testLimits: MeterLimits = { memoryPages: 10, tableEntries: 100, callDepth: 1000 };

export interface MeteredInstance {
  readonly gauge: Gauge;
  readonly report: MeterReport;
  readonly exports: WebAssembly.Exports;
  /** Calls an export with this much fuel. */
  call(name: string, args?: readonly unknown[], fuel?: number): unknown;
}

/** An instance of a metered module in text format. */
export function instantiate(
  text: string,
  limits: Partial<MeterLimits> = {},
  imports: WebAssembly.Imports = {},
  options: MeterOptions = {},
): MeteredInstance {
  const { module, report } = meter(compileWat(text), { ...testLimits, ...limits }, options);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module), imports);
  const gauge = new Gauge(exports, report.limits);
  return {
    gauge,
    report,
    exports,
    call(name, args = [], fuel = 1e9) {
      const target = exports[name];
      if (typeof target !== "function") throw new TypeError(`no function ${name}`);
      gauge.begin(fuel);
      return target(...args);
    },
  };
}

/** The error that a call ends with. */
export function errorOf(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    return error;
  }
  throw new Error("the call did not fail");
}
