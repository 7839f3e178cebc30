import { FunctionAnalyzer } from "./analyze-function.ts";
import type { CodeFacts, FunctionPlan } from "./function-plan.ts";
import { ByteReader } from "./byte-reader.ts";
import { CodeEvents, eventKind, MEMORY } from "./code-events.ts";
import { readCallGraph } from "./call-graph.ts";
import { FunctionEmitter } from "./emit-function.ts";
import { fuelCosts } from "./fuel-costs.ts";
import { writeGrowFunction } from "./grow-functions.ts";
import { DEFAULT_CALL_DEPTH, defaultBounds, type MeterLimits, type StructuralBounds } from "./meter-limits.ts";
import { reportModule, type ModuleReport, type StateReport } from "./module-report.ts";
import { ModuleRefused } from "./module-refused.ts";
import { kinds, sectionId, type ModuleShape } from "./module-shape.ts";
import { valueType } from "./opcodes.ts";
import { placePayments } from "./place-payments.ts";
import { readModule } from "./read-module.ts";
import { reservedNames } from "./reserved-names.ts";
import { validate } from "./validate.ts";
import { KEPT_CUSTOM_SECTION, writeModule } from "./write-module.ts";

export interface MeterOptions {
  /** Where an import is taken from instead. */
  readonly renameImport?: (module: string, name: string) => { readonly module: string; readonly name: string };
  readonly renameExport?: (name: string) => string;
  /** Exports what `report.state` lists under reserved names, for an InstanceSnapshot. */
  readonly exportState?: boolean;
  /** Fuel for each call of an imported function. Default fuelCosts.hostCall, at most MAX_HOST_CALL_FUEL. */
  readonly hostCallFuel?: number;
}

export const MAX_HOST_CALL_FUEL = 1_000_000;

/** A maximum that the rewriter has put in the place of a greater one, or of none (null). */
export interface Clamp {
  readonly what: "memory" | "table";
  readonly index: number;
  readonly before: number | null;
  readonly after: number;
}

export interface MeterReport extends ModuleReport {
  readonly clamped: readonly Clamp[];
  /** The export that is the function of the start section: the host calls it first, metered. */
  readonly start: string | null;
  readonly limits: { readonly memoryPages: number; readonly tableEntries: number; readonly callDepth: number };
  readonly bytesAfter: number;
  readonly codeBytesAfter: number;
  /** Custom sections that were left out. */
  readonly dropped: readonly string[];
}

export interface MeteredModule {
  readonly module: Uint8Array<ArrayBuffer>;
  readonly report: MeterReport;
}

/** Says what a module is made of, without limits on memory and tables. @throws ModuleRefused */
export function inspect(module: Uint8Array, bounds: Partial<StructuralBounds> = {}): ModuleReport {
  const { shape, facts } = analyze(module, { ...defaultBounds, ...bounds }, fuelCosts.hostCall);
  return reportModule(shape, facts);
}

/**
 * Rewrites a module so that it pays fuel and cannot exceed its limits.
 *
 * @throws ModuleRefused for a module that is invalid, too large, or of a kind that is not metered
 */
export function meter(module: Uint8Array, limits: MeterLimits, options: MeterOptions = {}): MeteredModule {
  const hostCallFuel = options.hostCallFuel ?? fuelCosts.hostCall;
  if (!Number.isInteger(hostCallFuel) || hostCallFuel < 0 || hostCallFuel > MAX_HOST_CALL_FUEL) {
    throw new RangeError(`hostCallFuel must be an integer from 0 to ${MAX_HOST_CALL_FUEL}`);
  }
  const { shape, facts, plans, events } = analyze(module, { ...defaultBounds, ...limits }, hostCallFuel);
  const { memoryMaximum, tableMaximum, clamped } = clamp(shape, limits);
  const callDepth = limits.callDepth ?? DEFAULT_CALL_DEPTH;

  const firstGlobal = shape.globals.length;
  const [fuelGlobal, depthGlobal, refusedGlobal] = [firstGlobal, firstGlobal + 1, firstGlobal + 2];
  const grows = findGrows(plans, events);
  const growFunctions = new Map(grows.map((what, index) => [what, shape.functionTypes.length + index]));
  const graph = readCallGraph(plans, events, shape.importedFunctions);
  const entered = Uint8Array.from(shape.addressTaken);
  if (shape.start !== undefined) entered[shape.start] = 1;
  const unchecked = placePayments(plans, events, graph, entered);
  const report = reportModule(shape, facts);
  let codeBytesAfter = 0;

  const rewritten = writeModule(shape, {
    memoryMaximum,
    tableMaximum,
    types: grows.map((what) => growType(shape, what)),
    functions: grows.map((_, index) => shape.types.length + index),
    globals: [0, callDepth, 0],
    exports: [
      { name: reservedNames.fuel, kind: kinds.global, index: fuelGlobal },
      { name: reservedNames.depth, kind: kinds.global, index: depthGlobal },
      { name: reservedNames.refused, kind: kinds.global, index: refusedGlobal },
      ...(shape.start === undefined ? [] : [{ name: reservedNames.start, kind: kinds.function, index: shape.start }]),
      ...(options.exportState ? stateExports(report.state) : []),
    ],
    renameImport: options.renameImport ?? ((from, name) => ({ module: from, name })),
    renameExport: options.renameExport ?? ((name) => name),
    writeCode: (out) => {
      const start = out.length;
      const added = { fuelGlobal, growFunctions, depthGlobal };
      const emitter = new FunctionEmitter(shape.bytes, events, graph.counted, added, out);
      out.u32(plans.length + grows.length);
      for (const [offset, plan] of plans.entries()) {
        const index = shape.importedFunctions + offset;
        emitter.emit(plan, index, unchecked[index] === 0);
      }
      for (const what of grows) {
        const table = what === MEMORY ? undefined : { index: what };
        const maximum = what === MEMORY ? memoryMaximum : tableMaximum(what);
        writeGrowFunction(out, { table, maximum, fuelGlobal, refusedGlobal });
      }
      codeBytesAfter = out.length - start;
    },
  });
  if (!WebAssembly.validate(rewritten))
    throw new Error("the rewritten module is not valid: a name given twice, or a fault");
  return {
    module: rewritten,
    report: {
      ...report,
      clamped,
      start: shape.start === undefined ? null : reservedNames.start,
      limits: { memoryPages: limits.memoryPages, tableEntries: limits.tableEntries, callDepth },
      bytesAfter: rewritten.length,
      codeBytesAfter,
      dropped: shape.customSections.map(({ name }) => name).filter((name) => name !== KEPT_CUSTOM_SECTION),
    },
  };
}

interface Analysis {
  readonly shape: ModuleShape;
  readonly facts: CodeFacts;
  readonly plans: readonly FunctionPlan[];
  readonly events: CodeEvents;
}

function analyze(module: Uint8Array, bounds: StructuralBounds, hostCallFuel: number): Analysis {
  if (module.length > bounds.moduleBytes) {
    const reason = `${module.length} bytes; the bound is ${bounds.moduleBytes}`;
    throw new ModuleRefused("TOO_LARGE", "module", 0, reason);
  }
  // A copy of our own: what is validated is what is read.
  const bytes = new Uint8Array(module);
  validate(bytes);
  const shape = readModule(bytes, bounds);
  const events = new CodeEvents();
  const facts: CodeFacts = { writesTables: false, dropsSegments: false, features: new Set() };
  const analyzer = new FunctionAnalyzer(shape, bounds, hostCallFuel, events, facts);
  const plans: FunctionPlan[] = [];
  const code = shape.sections.get(sectionId.code);
  if (code) {
    const reader = new ByteReader(bytes, "code", code.start, code.end);
    const count = reader.u32();
    for (let index = shape.importedFunctions; plans.length < count; index++) {
      const at = reader.at;
      const size = reader.u32();
      if (size > bounds.functionBytes) {
        const reason = `function ${index} has ${size} bytes; the bound is ${bounds.functionBytes}`;
        throw new ModuleRefused("TOO_LARGE", "code", at, reason);
      }
      const params = shape.types[shape.functionTypes[index] ?? -1]?.params.length ?? 0;
      plans.push(analyzer.analyze(params, { start: reader.at, end: reader.at + size }));
      reader.skip(size);
      if (events.length > bounds.meteredPlaces) {
        const reason = `more than ${bounds.meteredPlaces} places to meter`;
        throw new ModuleRefused("TOO_LARGE", "code", at, reason);
      }
    }
  }
  return { shape, facts, plans, events };
}

/** What the code grows: tables by their index, and MEMORY. */
function findGrows(plans: readonly FunctionPlan[], events: CodeEvents): number[] {
  const grows = new Set<number>();
  const end = plans.at(-1)?.endEvent ?? 0;
  for (let event = 0; event < end; event++) {
    if (events.kind(event) === eventKind.grow) grows.add(events.value(event));
  }
  return [...grows].toSorted((a, b) => a - b);
}

function growType(shape: ModuleShape, what: number): Uint8Array {
  const { i32 } = valueType;
  if (what === MEMORY) return Uint8Array.of(0x60, 1, i32, 1, i32);
  return Uint8Array.of(0x60, 2, shape.tables[what]?.type ?? 0, i32, 1, i32);
}

function stateExports(state: StateReport): { name: string; kind: number; index: number }[] {
  return [
    ...(state.memory ? [{ name: reservedNames.memory, kind: kinds.memory, index: 0 }] : []),
    ...state.globals.map((index) => ({ name: reservedNames.global(index), kind: kinds.global, index })),
    ...state.tables.map((index) => ({ name: reservedNames.table(index), kind: kinds.table, index })),
  ];
}

function clamp(
  shape: ModuleShape,
  limits: MeterLimits,
): { memoryMaximum: number; tableMaximum: (table: number) => number; clamped: Clamp[] } {
  const clamped: Clamp[] = [];
  const bound = (
    what: "memory" | "table",
    index: number,
    size: { min: number; max: number | undefined; at: number },
  ) => {
    const limit = what === "memory" ? limits.memoryPages : limits.tableEntries;
    if (size.min > limit) {
      const unit = what === "memory" ? "pages" : "entries";
      const reason = `${what} ${index} starts with ${size.min} ${unit}; the limit is ${limit}`;
      throw new ModuleRefused("LIMIT", what, size.at, reason);
    }
    const after = Math.min(size.max ?? limit, limit);
    if (after !== size.max) clamped.push({ what, index, before: size.max ?? null, after });
    return after;
  };
  const memoryMaximum = shape.memory ? bound("memory", 0, shape.memory) : 0;
  const tables = shape.tables.map((table, index) => bound("table", index, table));
  return { memoryMaximum, tableMaximum: (table) => tables[table] ?? 0, clamped };
}
