import type { ByteReader } from "./byte-reader.ts";
import type { GlobalShape, Limits, MemoryShape, TableShape } from "./module-shape.ts";
import { valueType } from "./opcodes.ts";

const valueTypeNames = new Map<number, string>(Object.entries(valueType).map(([name, byte]) => [byte, name]));
const numbers: ReadonlySet<number> = new Set([valueType.i32, valueType.i64, valueType.f32, valueType.f64]);

/** Whether JavaScript can read and write the whole of a value of this type. */
export function isNumber(type: number): boolean {
  return numbers.has(type);
}

export function nameOfType(type: number): string {
  return valueTypeNames.get(type) ?? `0x${type.toString(16)}`;
}

export function isValueType(type: number): boolean {
  return valueTypeNames.has(type);
}

export function readValueType(reader: ByteReader): number {
  const at = reader.at;
  const type = reader.byte();
  if (!isValueType(type)) throw reader.unsupported(at, `the value type 0x${type.toString(16)} (garbage collection)`);
  return type;
}

export function readGlobalType(reader: ByteReader, imported: boolean): GlobalShape {
  const typeAt = reader.at;
  const type = readValueType(reader);
  // Exceptions live on the engine's heap: what holds them is counted by frames.
  if (type === valueType.exnref) throw reader.unsupported(typeAt, "a global that holds an exception");
  const at = reader.at;
  const flags = reader.byte();
  if (flags > 1) throw reader.unsupported(at, "a shared global");
  return { type, mutable: flags === 1, imported };
}

export function readTableType(reader: ByteReader, imported: boolean): TableShape {
  const at = reader.at;
  if (reader.peek() === 0x40) throw reader.unsupported(at, "a table with an initial value");
  const type = readValueType(reader);
  // Exceptions live on the engine's heap, where no limit counts them.
  if (type === valueType.exnref) throw reader.unsupported(at, "a table of exceptions");
  return { type, imported, at, ...readLimits(reader) };
}

export function readMemoryType(reader: ByteReader, imported: boolean): MemoryShape {
  const at = reader.at;
  return { imported, at, ...readLimits(reader) };
}

/** Bit 0: there is a maximum; 1: shared; 2: 64-bit; 3: pages of another size. */
function readLimits(reader: ByteReader): Limits {
  const at = reader.at;
  const flags = reader.byte();
  if (flags & 2) throw reader.unsupported(at, "shared memory");
  if (flags & 4) throw reader.unsupported(at, "a 64-bit memory or table");
  if (flags & 8) throw reader.unsupported(at, "a custom page size");
  if (flags > 1) throw reader.unsupported(at, `limits of kind ${flags}`);
  const min = reader.u32();
  return { min, max: flags === 1 ? reader.u32() : undefined };
}
