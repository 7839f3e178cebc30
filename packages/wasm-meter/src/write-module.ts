import { ByteWriter } from "./byte-writer.ts";
import { kinds, sectionId, sectionOrder, type ModuleShape } from "./module-shape.ts";
import { op, valueType } from "./opcodes.ts";
import { ByteReader } from "./byte-reader.ts";

/** How the parts of the module other than its code change. */
export interface ModuleChanges {
  readonly memoryMaximum: number;
  readonly tableMaximum: (table: number) => number;
  /** Function types that are added, as encoded. */
  readonly types: readonly Uint8Array[];
  /** The type indexes of the functions that are added. */
  readonly functions: readonly number[];
  /** First values of the i64 globals that are added. */
  readonly globals: readonly number[];
  readonly exports: readonly { readonly name: string; readonly kind: number; readonly index: number }[];
  readonly renameImport: (module: string, name: string) => { readonly module: string; readonly name: string };
  readonly renameExport: (name: string) => string;
  readonly writeCode: (out: ByteWriter) => void;
}

/** Metered code is about this much longer than its original; a wrong guess costs one copy. */
const GROWTH = 1.7;
const FIXED_BYTES = 1024;

/** Writes the metered module: the sections in their order, no index moved, custom sections left out but for the names. */
export function writeModule(module: ModuleShape, changes: ModuleChanges): Uint8Array<ArrayBuffer> {
  const out = new ByteWriter(Math.floor(module.bytes.length * GROWTH) + FIXED_BYTES);
  out.copy(module.bytes, 0, 8);
  for (const { id } of sectionOrder) {
    const write = contentWriter(module, changes, id);
    if (!write) continue;
    out.byte(id);
    const size = out.beginSized();
    write(out);
    out.endSized(size);
  }
  for (const custom of module.customSections) {
    if (custom.name === KEPT_CUSTOM_SECTION) out.copy(module.bytes, custom.at, custom.end);
  }
  return out.finish();
}

/** Names of functions, locals and globals: indexes do not move, so they stay true. Offsets in the code would not. */
export const KEPT_CUSTOM_SECTION = "name";

type Write = (out: ByteWriter) => void;

function contentWriter(module: ModuleShape, changes: ModuleChanges, id: number): Write | undefined {
  const span = module.sections.get(id);
  switch (id) {
    case sectionId.type:
      return extended(module, id, changes.types.length, (out) => changes.types.forEach((type) => out.raw(type)));
    case sectionId.function:
      return extended(module, id, changes.functions.length, (out) =>
        changes.functions.forEach((type) => out.u32(type)),
      );
    case sectionId.global:
      return extended(module, id, changes.globals.length, (out) => {
        for (const value of changes.globals) {
          out.raw(Uint8Array.of(valueType.i64, 1, op.i64Const));
          out.signed(value);
          out.byte(op.end);
        }
      });
    case sectionId.import:
      return span && ((out) => writeImports(out, module, changes));
    case sectionId.table:
      return span && ((out) => writeTables(out, module, changes));
    case sectionId.memory:
      return span && ((out) => writeMemory(out, module, changes));
    case sectionId.export:
      return (out) => writeExports(out, module, changes);
    case sectionId.start:
      return undefined;
    case sectionId.code:
      return span || changes.functions.length > 0 ? changes.writeCode : undefined;
    default:
      return span && ((out) => out.copy(module.bytes, span.start, span.end));
  }
}

/** A vector with `count` items more at its end. */
function extended(module: ModuleShape, id: number, count: number, write: Write): Write | undefined {
  const span = module.sections.get(id);
  if (!span && count === 0) return undefined;
  return (out) => {
    const reader = new ByteReader(module.bytes, "module", span?.start ?? 0, span?.end ?? 0);
    out.u32((span ? reader.u32() : 0) + count);
    if (span) out.copy(module.bytes, reader.at, span.end);
    write(out);
  };
}

function writeLimits(out: ByteWriter, min: number, max: number): void {
  out.byte(1);
  out.u32(min);
  out.u32(max);
}

function writeImports(out: ByteWriter, module: ModuleShape, changes: ModuleChanges): void {
  out.u32(module.imports.length);
  for (const entry of module.imports) {
    const renamed = changes.renameImport(entry.module, entry.name);
    out.name(renamed.module);
    out.name(renamed.name);
    out.byte(entry.kind);
    const table = entry.kind === kinds.table ? module.tables[entry.index] : undefined;
    if (table) {
      out.byte(table.type);
      writeLimits(out, table.min, changes.tableMaximum(entry.index));
    } else if (entry.kind === kinds.memory && module.memory) {
      writeLimits(out, module.memory.min, changes.memoryMaximum);
    } else {
      out.copy(module.bytes, entry.description.start, entry.description.end);
    }
  }
}

function writeTables(out: ByteWriter, module: ModuleShape, changes: ModuleChanges): void {
  out.u32(module.tables.filter((table) => !table.imported).length);
  for (const [index, table] of module.tables.entries()) {
    if (table.imported) continue;
    out.byte(table.type);
    writeLimits(out, table.min, changes.tableMaximum(index));
  }
}

function writeMemory(out: ByteWriter, module: ModuleShape, changes: ModuleChanges): void {
  const own = module.memory && !module.memory.imported ? module.memory : undefined;
  out.u32(own ? 1 : 0);
  if (own) writeLimits(out, own.min, changes.memoryMaximum);
}

function writeExports(out: ByteWriter, module: ModuleShape, changes: ModuleChanges): void {
  out.u32(module.exports.length + changes.exports.length);
  const add = (name: string, kind: number, index: number): void => {
    out.name(name);
    out.byte(kind);
    out.u32(index);
  };
  for (const { name, kind, index } of module.exports) add(changes.renameExport(name), kind, index);
  for (const { name, kind, index } of changes.exports) add(name, kind, index);
}
