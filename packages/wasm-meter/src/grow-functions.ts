import type { ByteWriter } from "./byte-writer.ts";
import { fuelCosts } from "./fuel-costs.ts";
import { EMPTY_BLOCK, misc, op, valueType } from "./opcodes.ts";

export interface GrowFunction {
  /** Index of the table that grows; undefined for the memory. */
  readonly table: { readonly index: number } | undefined;
  /** Pages or entries that are never exceeded. */
  readonly maximum: number;
  readonly fuelGlobal: number;
  readonly refusedGlobal: number;
}

/**
 * Writes the body of a function that takes the place of memory.grow or table.grow: the fuel is charged first, a grow beyond
 * the maximum is not tried, and a refusal leaves the size that was asked for in the refused global.
 *
 * In the words of C, with `wanted` negated in the mark of a table:
 *
 *     i32 grow([ref value,] u32 delta) {
 *       i64 wanted = (i64)size() + delta;
 *       fuel -= fixed + (wanted > maximum ? 0 : delta * each);
 *       if (fuel < 0) trap();
 *       refused = wanted;
 *       if (wanted > maximum) return -1;
 *       i32 before = real_grow(delta);
 *       if (before != -1) refused = 0;
 *       return before;
 *     }
 */
export function writeGrowFunction(out: ByteWriter, grow: GrowFunction): void {
  const { table } = grow;
  const delta = table ? 1 : 0;
  const wanted = delta + 1;
  const before = delta + 2;
  const size = out.beginSized();
  out.raw(Uint8Array.of(2, 1, valueType.i64, 1, valueType.i32));
  writeSize(out, table?.index);
  out.raw(Uint8Array.of(op.i64ExtendI32U, op.localGet, delta, op.i64ExtendI32U, op.i64Add, op.localSet, wanted));

  global(out, op.globalGet, grow.fuelGlobal);
  constant(out, table ? fuelCosts.tableGrow : fuelCosts.memoryGrow);
  out.byte(op.i64Sub);
  global(out, op.globalSet, grow.fuelGlobal);
  beginIfWithin(out, wanted, grow.maximum);
  global(out, op.globalGet, grow.fuelGlobal);
  if (table) out.raw(Uint8Array.of(op.localGet, wanted));
  else {
    out.raw(Uint8Array.of(op.localGet, delta, op.i64ExtendI32U));
    constant(out, fuelCosts.memoryGrowPage);
    out.byte(op.i64Mul);
  }
  out.byte(op.i64Sub);
  global(out, op.globalSet, grow.fuelGlobal);
  out.byte(op.end);
  global(out, op.globalGet, grow.fuelGlobal);
  out.raw(Uint8Array.of(op.i64Const, 0, op.i64LtS, op.if, EMPTY_BLOCK, op.unreachable, op.end));

  if (table) {
    constant(out, 0);
    out.raw(Uint8Array.of(op.localGet, wanted, op.i64Sub));
  } else out.raw(Uint8Array.of(op.localGet, wanted));
  global(out, op.globalSet, grow.refusedGlobal);
  out.raw(Uint8Array.of(op.i32Const, 0x7f, op.localSet, before));
  beginIfWithin(out, wanted, grow.maximum);
  writeGrow(out, table?.index);
  out.raw(Uint8Array.of(op.localTee, before, op.i32Const, 0x7f, op.i32Ne, op.if, EMPTY_BLOCK));
  constant(out, 0);
  global(out, op.globalSet, grow.refusedGlobal);
  out.raw(Uint8Array.of(op.end, op.end, op.localGet, before, op.end));
  out.endSized(size);
}

function writeSize(out: ByteWriter, table: number | undefined): void {
  if (table === undefined) out.raw(Uint8Array.of(op.memorySize, 0));
  else {
    out.raw(Uint8Array.of(op.miscPrefix, misc.tableSize));
    out.u32(table);
  }
}

function writeGrow(out: ByteWriter, table: number | undefined): void {
  if (table === undefined) out.raw(Uint8Array.of(op.localGet, 0, op.memoryGrow, 0));
  else {
    out.raw(Uint8Array.of(op.localGet, 0, op.localGet, 1, op.miscPrefix, misc.tableGrow));
    out.u32(table);
  }
}

function beginIfWithin(out: ByteWriter, local: number, maximum: number): void {
  out.raw(Uint8Array.of(op.localGet, local));
  constant(out, maximum);
  out.raw(Uint8Array.of(op.i64LeU, op.if, EMPTY_BLOCK));
}

function constant(out: ByteWriter, value: number): void {
  out.byte(op.i64Const);
  out.signed(value);
}

function global(out: ByteWriter, opcode: number, index: number): void {
  out.byte(opcode);
  out.u32(index);
}
