import { op } from "./opcodes.ts";

/** Fuel of what is not charged by instruction alone. */
export const fuelCosts = {
  /** On top of a call's own cost, for each call of an imported function; see MeterOptions.hostCallFuel. */
  hostCall: 100,
  /** Instructions that write a run of bytes or entries, before their length counts: they leave the compiled code. */
  bulk: 16,
  /** Bytes of memory.copy, memory.fill and memory.init for one unit of fuel, as a power of two: 8 bytes. */
  bulkBytesShift: 3,
  /** The same for runs of table entries, which are references: the engine takes them one by one, past write barriers. */
  tableBulk: 500,
  /** Fuel of one entry of table.copy, table.fill and table.init, as a power of two: 16. */
  tableEntryShift: 4,
  /** Even a grow by no page makes the engine replace the memory's buffer: 147 us were measured. */
  memoryGrow: 100_000,
  memoryGrowPage: 65_536,
  /** The engine may copy the table: its length is charged too. */
  tableGrow: 1000,
} as const;

/** The fuel of each instruction without a prefix. Those with one cost 1, or fuelCosts.bulk. */
export const instructionFuel: Uint16Array = new Uint16Array(256).fill(1);

/**
 * What compiles to nothing, or to a name for a value, is free. Branches and calls never are, so that nothing that repeats
 * is for nothing.
 */
const free = new Set<number>([op.nop, op.block, op.loop, op.else, op.end, op.return, op.drop])
  .union(new Set([op.try, op.tryTable, op.catch, op.catchAll, op.delegate]))
  .union(new Set([op.localGet, op.localSet, op.localTee, op.i32Const, op.i64Const, op.f32Const, op.f64Const]));
for (const opcode of free) instructionFuel[opcode] = 0;
for (const call of [op.call, op.returnCall]) instructionFuel[call] = 3;
for (const call of [op.callIndirect, op.returnCallIndirect]) instructionFuel[call] = 6;
// Unwinding walks the stack.
for (const thrown of [op.throw, op.rethrow, op.throwRef]) instructionFuel[thrown] = 1000;
/** i32 and i64 division and remainder; f32 and f64 square root and division. */
const slow = [0x6d, 0x6e, 0x6f, 0x70, 0x7f, 0x80, 0x81, 0x82, 0x91, 0x95, 0x9f, 0xa3];
for (const opcode of slow) instructionFuel[opcode] = 4;
