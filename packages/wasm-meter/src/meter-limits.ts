/** Bounds on the module's structure: on what reading, rewriting and compiling it may cost. */
export interface StructuralBounds {
  readonly moduleBytes: number;
  /** One huge branchy function keeps the optimising compiler busy for a minute and a gigabyte. */
  readonly functionBytes: number;
  /** Functions, imported ones included. */
  readonly functions: number;
  /** Parameters and locals of one function. */
  readonly locals: number;
  /**
   * Locals times blocks and branches of one function: at each of them an engine's compiler takes note of every local. A
   * function of 48 KiB with 24 million took 2 GB; the largest of PostgreSQL, compiled by Emscripten, has 0.3 million.
   */
  readonly functionMerges: number;
  /** The same of all functions together. */
  readonly merges: number;
  /** Blocks inside each other in one function. */
  readonly nesting: number;
  /** Places of the whole code where something is charged or written back: what the code grows by. */
  readonly meteredPlaces: number;
  /** Labels of one br_table. */
  readonly branchTargets: number;
  readonly types: number;
  /** Parameters of a function type, and results likewise. */
  readonly typeValues: number;
  readonly imports: number;
  readonly exports: number;
  readonly tables: number;
  readonly globals: number;
  readonly tags: number;
  /** Values that an exception carries: they live on the engine's heap, 16 to 64 bytes each. */
  readonly tagValues: number;
  readonly elementSegments: number;
  /** Entries of one element segment. */
  readonly segmentEntries: number;
  readonly dataSegments: number;
  /** What is left out still has to be read and reported. */
  readonly customSections: number;
}

/** What a module may have and use. */
export interface MeterLimits extends Partial<StructuralBounds> {
  /** Pages of 64 KiB. */
  readonly memoryPages: number;
  /** Entries of each table. */
  readonly tableEntries: number;
  /** Calls inside each other; see DEFAULT_CALL_DEPTH. */
  readonly callDepth?: number;
}

/** The stack of V8 holds 14,000 to 18,000 small frames. */
export const DEFAULT_CALL_DEPTH = 5000;

/** Above what compilers emit, below what hurts. */
export const defaultBounds: StructuralBounds = {
  moduleBytes: 16 * 1024 * 1024,
  functionBytes: 128 * 1024,
  functions: 50_000,
  locals: 5000,
  functionMerges: 2_000_000,
  merges: 40_000_000,
  nesting: 5000,
  meteredPlaces: 4_000_000,
  branchTargets: 10_000,
  types: 10_000,
  typeValues: 100,
  imports: 1000,
  exports: 10_000,
  tables: 16,
  globals: 10_000,
  tags: 100,
  tagValues: 8,
  elementSegments: 10_000,
  segmentEntries: 100_000,
  dataSegments: 50_000,
  customSections: 1000,
};
