export { fuelCosts } from "./fuel-costs.ts";
export { Gauge, MAX_FUEL, type Breach, type GaugeLimits } from "./gauge.ts";
export { InstanceSnapshot } from "./instance-snapshot.ts";
export {
  inspect,
  MAX_HOST_CALL_FUEL,
  meter,
  type Clamp,
  type MeteredModule,
  type MeterOptions,
  type MeterReport,
} from "./meter.ts";
export { createMeterCache, type CachedMeterOptions, type MeterCache, type MeterCacheOptions } from "./meter-cache.ts";
export { DEFAULT_CALL_DEPTH, defaultBounds, type MeterLimits, type StructuralBounds } from "./meter-limits.ts";
export { ModuleRefused, type RefusalCode } from "./module-refused.ts";
export type { ModuleReport, SizeReport, StateReport } from "./module-report.ts";
export type { Feature } from "./module-shape.ts";
export { reservedNames, reservedPrefix } from "./reserved-names.ts";
