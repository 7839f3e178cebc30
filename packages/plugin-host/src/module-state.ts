import { readSections, sectionIds, UnknownEncoding, WasmReader } from "./wasm-binary.ts";

/** All that can differ between a used instance and a fresh one. */
export interface ModuleState {
  readonly hasMemory: boolean;
  /** Indexes of the module's mutable globals. */
  readonly globals: readonly number[];
  readonly tableCount: number;
  /** Why an instance cannot be put back into its first state; undefined when it can. */
  readonly notRestorable: string | undefined;
}

/**
 * Finds the state of a module whose imports are functions only. It lives in memory, mutable globals, tables and the
 * "dropped" marks of passive segments. Numbers and function references can be put back; a mark or an object on the
 * engine's heap cannot, and neither can anything that this reader does not know.
 */
export function findState(module: Uint8Array): ModuleState {
  const content = new Map(readSections(module).map((section) => [section.id, section.content]));
  const count = (id: number) => {
    const section = content.get(id);
    return section ? new WasmReader(section).u32() : 0;
  };
  const found = { hasMemory: count(sectionIds.memory) === 1, tableCount: count(sectionIds.table) };
  try {
    const globals = mutableGlobals(content.get(sectionIds.global));
    refusePassive(content.get(sectionIds.data), "data", (reader) => reader.bytes(reader.u32()));
    refusePassive(content.get(sectionIds.element), "element", (reader) => {
      for (let left = reader.u32(); left > 0; left--) reader.u32();
    });
    return { ...found, globals, notRestorable: undefined };
  } catch (error) {
    if (!(error instanceof UnknownEncoding)) throw error;
    return { ...found, globals: [], notRestorable: error.message };
  }
}

/** i32, i64, f32 and f64: the value types whose whole state JavaScript can read and write. */
const numericTypes: ReadonlySet<number> = new Set([0x7f, 0x7e, 0x7d, 0x7c]);

function mutableGlobals(section: Uint8Array | undefined): number[] {
  const mutable: number[] = [];
  if (!section) return mutable;
  const reader = new WasmReader(section);
  const count = reader.u32();
  for (let index = 0; index < count; index++) {
    const type = reader.byte();
    if (!numericTypes.has(type)) throw new UnknownEncoding(`global ${index} is not a number`);
    if (reader.byte() === 1) mutable.push(index);
    reader.skipConstant();
  }
  return mutable;
}

/** Kind 0 is a segment that is copied at the start and dropped at once: it holds no state. */
function refusePassive(section: Uint8Array | undefined, what: string, skipItems: (reader: WasmReader) => void): void {
  if (!section) return;
  const reader = new WasmReader(section);
  const count = reader.u32();
  for (let index = 0; index < count; index++) {
    const kind = reader.u32();
    if (kind !== 0) throw new UnknownEncoding(`${what} segment ${index} is of kind ${kind}`);
    reader.skipConstant();
    skipItems(reader);
  }
}
