import { MillraceError } from "@millrace/protocol";
import {
  inspect,
  meter,
  ModuleRefused,
  type MeteredModule,
  type MeterLimits,
  type ModuleReport,
} from "@millrace/wasm-meter";

/** @throws MillraceError failed_precondition, with code, section, offset and reason, for a module that is refused */
export function inspectWasm(module: Uint8Array): ModuleReport {
  return orRefused(() => inspect(module));
}

/** @throws MillraceError failed_precondition, with code, section, offset and reason, for a module that is refused */
export function meterWasm(module: Uint8Array, limits: MeterLimits): MeteredModule & { readonly elapsedMs: number } {
  const startedMs = performance.now();
  const metered = orRefused(() => meter(module, limits));
  return { ...metered, elapsedMs: Math.round((performance.now() - startedMs) * 100) / 100 };
}

function orRefused<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof ModuleRefused)) throw cause;
    const { code, section, offset, reason } = cause;
    throw new MillraceError("failed_precondition", `refused: ${code}, ${cause.message}`, {
      cause,
      details: [
        { field: "code", reason: code },
        { field: "section", reason: section },
        { field: "offset", reason: String(offset) },
        { field: "reason", reason },
      ],
    });
  }
}
