import type { CodeFacts } from "./function-plan.ts";
import { kinds, type Feature, type FunctionType, type Limits, type ModuleShape } from "./module-shape.ts";
import { isNumber, nameOfType } from "./read-types.ts";

type Kind = "function" | "table" | "memory" | "global" | "tag";

const kindNames: readonly Kind[] = ["function", "table", "memory", "global", "tag"];

/** Sizes in pages (memory) or entries (table); max is null where the module names none. */
export interface SizeReport {
  readonly min: number;
  readonly max: number | null;
  readonly imported: boolean;
}

/** All that can differ between a used instance and a fresh one, and whether it can be put back from outside. */
export interface StateReport {
  readonly memory: boolean;
  /** Indexes of the mutable globals, imported ones included. */
  readonly globals: readonly number[];
  /** Indexes of the tables, where an instruction writes to any. */
  readonly tables: readonly number[];
  /** Whether memory and mutable globals are all that a call can change. */
  readonly restorable: boolean;
  /** Why not; empty when it is. */
  readonly reasons: readonly string[];
}

/** What a module is made of: plain data, fit for JSON. */
export interface ModuleReport {
  readonly bytes: number;
  readonly codeBytes: number;
  /** Functions that it defines. */
  readonly functions: number;
  readonly imports: readonly {
    readonly module: string;
    readonly name: string;
    readonly kind: Kind;
    readonly type: string;
  }[];
  readonly exports: readonly { readonly name: string; readonly kind: Kind; readonly type: string }[];
  readonly memory: SizeReport | null;
  readonly tables: readonly (SizeReport & { readonly type: string })[];
  /** Index of the function of its start section. */
  readonly startFunction: number | null;
  /** What it uses beyond the first version of WebAssembly, sorted. */
  readonly features: readonly Feature[];
  readonly customSections: readonly { readonly name: string; readonly bytes: number }[];
  readonly state: StateReport;
}

export function reportModule(module: ModuleShape, facts: CodeFacts): ModuleReport {
  const code = module.sections.get(10);
  return {
    bytes: module.bytes.length,
    codeBytes: code ? code.end - code.start : 0,
    functions: module.functionTypes.length - module.importedFunctions,
    imports: module.imports.map(({ module: from, name, kind, index }) => ({
      module: from,
      name,
      kind: kindNames[kind] ?? "tag",
      type: describe(module, kind, index),
    })),
    exports: module.exports.map(({ name, kind, index }) => ({
      name,
      kind: kindNames[kind] ?? "tag",
      type: describe(module, kind, index),
    })),
    memory: module.memory ? sizeOf(module.memory) : null,
    tables: module.tables.map((table) => ({ ...sizeOf(table), type: nameOfType(table.type) })),
    startFunction: module.start ?? null,
    features: [...module.features, ...facts.features].toSorted().filter((name, index, all) => name !== all[index - 1]),
    customSections: module.customSections.map(({ name, start, end }) => ({ name, bytes: end - start })),
    state: reportState(module, facts),
  };
}

function sizeOf(size: Limits & { readonly imported: boolean }): SizeReport {
  return { min: size.min, max: size.max ?? null, imported: size.imported };
}

function describe(module: ModuleShape, kind: number, index: number): string {
  switch (kind) {
    case kinds.function:
      return signature(module.types[module.functionTypes[index] ?? -1]);
    case kinds.table:
      return `${nameOfType(module.tables[index]?.type ?? 0)}${range(module.tables[index])}`;
    case kinds.memory:
      return `pages${range(module.memory)}`;
    case kinds.global: {
      const global = module.globals[index];
      return `${global?.mutable ? "mut " : ""}${nameOfType(global?.type ?? 0)}`;
    }
    default:
      return "tag";
  }
}

function signature(type: FunctionType | undefined): string {
  const list = (types: readonly number[] = []) => `(${types.map(nameOfType).join(", ")})`;
  return `${list(type?.params)} -> ${list(type?.results)}`;
}

function range(limits: Limits | undefined): string {
  return ` ${limits?.min ?? 0}..${limits?.max ?? ""}`;
}

function reportState(module: ModuleShape, facts: CodeFacts): StateReport {
  const globals = module.globals.flatMap(({ mutable }, index) => (mutable ? [index] : []));
  const opaque = globals.filter((index) => !isNumber(module.globals[index]?.type ?? 0));
  const reasons = [
    ...opaque.map((index) => `global ${index} is of type ${nameOfType(module.globals[index]?.type ?? 0)}`),
    ...(facts.writesTables ? ["an instruction writes to a table"] : []),
    ...(facts.dropsSegments ? ["an instruction drops a segment"] : []),
  ];
  return {
    memory: module.memory !== undefined,
    globals,
    tables: facts.writesTables ? module.tables.map((_, index) => index) : [],
    restorable: reasons.length === 0,
    reasons,
  };
}
