import { meter, ModuleRefused, type MeterReport } from "@millrace/wasm-meter";
import { moduleProblems, refusalOf } from "./inspect-module.ts";
import { extismModule, extismOwn, wasiModule } from "./known-imports.ts";
import { PluginRefused } from "./plugin-refused.ts";
import { resolveLimits, type PluginLimits } from "./plugin-limits.ts";
import { reservedNames } from "./reserved-names.ts";

/** A module that is ready to be compiled: plain data, made once for a version and sent to every thread. */
export interface PreparedModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly report: MeterReport;
}

/**
 * What the cheap calls out of a module take, 70 ns, at the 80 to 120 ps that a unit of fuel is elsewhere, and some for the release
 * of a block. Functions that take longer charge for the rest themselves, by the same measure.
 */
const HOST_CALL_FUEL = 1000;

/**
 * Rewrites a module so that it pays for what it does and keeps within its limits, sends its imports to our own functions, takes
 * the start-up exports out of Extism's hands, and exports what must be put back between two jobs. Takes some 40 ms per MB.
 * @throws PluginRefused when the module is not one that this host can run within the limits
 */
export function prepareModule(module: Uint8Array, limits: Partial<PluginLimits> = {}): PreparedModule {
  const { memoryPages, tableEntries, callDepth } = resolveLimits(limits);
  try {
    const metered = meter(
      module,
      { memoryPages, tableEntries, callDepth },
      { renameImport, renameExport, exportState: true, hostCallFuel: HOST_CALL_FUEL },
    );
    const problems = moduleProblems(metered.report);
    if (problems.length > 0) throw new PluginRefused(problems);
    return { bytes: metered.module, report: metered.report };
  } catch (error) {
    if (error instanceof ModuleRefused) throw new PluginRefused([refusalOf(error)]);
    throw error;
  }
}

function renameImport(module: string, name: string): { module: string; name: string } {
  if (module === wasiModule) return { module: reservedNames.wasi, name };
  return { module: module === extismModule && !extismOwn.has(name) ? reservedNames.extism : module, name };
}

const startUpNames = new Map<string, string>([
  ["_initialize", reservedNames.initialize],
  ["_start", reservedNames.start],
  ["hs_init", reservedNames.haskellInit],
]);

function renameExport(name: string): string {
  return startUpNames.get(name) ?? name;
}
