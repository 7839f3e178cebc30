/** A WASM module as the rewriter sees it: its sections' places and what must be known of them. All offsets are in the file. */
export interface ModuleShape {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Content of each section but custom ones, by its id. */
  readonly sections: ReadonlyMap<number, Span>;
  readonly customSections: readonly (Span & {
    readonly name: string;
    /** Where its id stands. */ readonly at: number;
  })[];
  readonly types: readonly FunctionType[];
  readonly imports: readonly ImportEntry[];
  /** The type index of each function, imported ones first. */
  readonly functionTypes: readonly number[];
  readonly importedFunctions: number;
  readonly tables: readonly TableShape[];
  readonly memory: MemoryShape | undefined;
  readonly globals: readonly GlobalShape[];
  readonly exports: readonly ExportEntry[];
  /** The function of the start section. */
  readonly start: number | undefined;
  /** 1 for each function that a segment, a global or an export names: something else than a direct call can reach it. */
  readonly addressTaken: Uint8Array;
  readonly features: ReadonlySet<Feature>;
}

export interface Span {
  readonly start: number;
  readonly end: number;
}

export interface FunctionType {
  readonly params: readonly number[];
  readonly results: readonly number[];
}

export interface Limits {
  readonly min: number;
  readonly max: number | undefined;
}

export interface MemoryShape extends Limits {
  readonly imported: boolean;
  readonly at: number;
}

export interface TableShape extends Limits {
  readonly type: number;
  readonly imported: boolean;
  readonly at: number;
}

export interface GlobalShape {
  readonly type: number;
  readonly mutable: boolean;
  readonly imported: boolean;
}

export interface ExportEntry {
  readonly name: string;
  readonly kind: number;
  readonly index: number;
}

export interface ImportEntry {
  readonly module: string;
  readonly name: string;
  readonly kind: number;
  /** The index of what is imported, among those of its kind. */
  readonly index: number;
  /** How the binary describes it. */
  readonly description: Span;
}

export const sectionId = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
  tag: 13,
} as const;

/** The order in which the specification wants the sections. */
export const sectionOrder: readonly { readonly id: number; readonly name: string }[] = [
  { id: sectionId.type, name: "type" },
  { id: sectionId.import, name: "import" },
  { id: sectionId.function, name: "function" },
  { id: sectionId.table, name: "table" },
  { id: sectionId.memory, name: "memory" },
  { id: sectionId.tag, name: "tag" },
  { id: sectionId.global, name: "global" },
  { id: sectionId.export, name: "export" },
  { id: sectionId.start, name: "start" },
  { id: sectionId.element, name: "element" },
  { id: sectionId.dataCount, name: "data count" },
  { id: sectionId.code, name: "code" },
  { id: sectionId.data, name: "data" },
];

export const kinds = { function: 0, table: 1, memory: 2, global: 3, tag: 4 } as const;

/** Features beyond the first version of WebAssembly that a module uses. */
export type Feature =
  | "bulk-memory"
  | "exceptions"
  | "exceptions-legacy"
  | "extended-const"
  | "multi-value"
  | "mutable-globals"
  | "reference-types"
  | "saturating-conversion"
  | "sign-extension"
  | "simd"
  | "tail-calls";
