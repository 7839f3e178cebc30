import type { ByteReader } from "./byte-reader.ts";
import type { Feature } from "./module-shape.ts";
import { op } from "./opcodes.ts";
import { readValueType } from "./read-types.ts";

/** What constant expressions and segments name. */
export interface Referred {
  readonly taken: Uint8Array;
  readonly features: Set<Feature>;
}

const V128_CONST = 12;
/** i32 and i64 add, sub and mul. */
const extendedConstants: ReadonlySet<number> = new Set([0x6a, 0x6b, 0x6c, 0x7c, 0x7d, 0x7e]);

/** Passes over a constant expression and its `end`. */
export function skipConstant(reader: ByteReader, referred: Referred): void {
  for (;;) {
    const at = reader.at;
    const opcode = reader.byte();
    if (opcode === op.end) return;
    if (opcode === op.i32Const || opcode === op.i64Const || opcode === op.globalGet) reader.skipInteger();
    else if (opcode === op.f32Const) reader.skip(4);
    else if (opcode === op.f64Const) reader.skip(8);
    else if (opcode === op.refFunc) {
      referred.taken[reader.u32()] = 1;
      referred.features.add("reference-types");
    } else if (opcode === op.refNull) {
      readValueType(reader);
      referred.features.add("reference-types");
    } else if (opcode === op.simdPrefix && reader.u32() === V128_CONST) {
      reader.skip(16);
      referred.features.add("simd");
    } else if (extendedConstants.has(opcode)) referred.features.add("extended-const");
    else throw reader.unsupported(at, `the constant instruction 0x${opcode.toString(16)}`);
  }
}

/**
 * One element segment. Bits of its kind: 0 passive or declarative, 1 an explicit table or declarative, 2 expressions instead
 * of function indexes.
 */
export function readElements(reader: ByteReader, referred: Referred, bound: number): void {
  const at = reader.at;
  const kind = reader.u32();
  if (kind > 7) throw reader.unsupported(at, `an element segment of kind ${kind}`);
  const active = (kind & 1) === 0;
  if (active && (kind & 2) !== 0) reader.u32();
  if (active) skipConstant(reader, referred);
  const expressions = (kind & 4) !== 0;
  if ((kind & 3) !== 0) {
    if (expressions) readValueType(reader);
    else reader.skip(1);
  }
  for (let left = reader.count(bound, "entries in a segment"); left > 0; left--) {
    if (expressions) skipConstant(reader, referred);
    else referred.taken[reader.u32()] = 1;
  }
}

/** One data segment: 0 active, 1 passive, 2 active with an explicit memory. */
export function readData(reader: ByteReader, referred: Referred): void {
  const at = reader.at;
  const kind = reader.u32();
  if (kind > 2) throw reader.unsupported(at, `a data segment of kind ${kind}`);
  if (kind === 2) reader.u32();
  if (kind !== 1) skipConstant(reader, referred);
  reader.skip(reader.u32());
}
