/** Opcodes that the rewriter tells apart (core specification, section 5.4, and the legacy exception handling proposal). */
export const op = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  try: 0x06,
  catch: 0x07,
  throw: 0x08,
  rethrow: 0x09,
  throwRef: 0x0a,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  returnCall: 0x12,
  returnCallIndirect: 0x13,
  delegate: 0x18,
  catchAll: 0x19,
  drop: 0x1a,
  selectTyped: 0x1c,
  tryTable: 0x1f,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  tableSet: 0x26,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  i32Ne: 0x47,
  i64LtS: 0x53,
  i64LeU: 0x58,
  i64Add: 0x7c,
  i64Sub: 0x7d,
  i64Mul: 0x7e,
  i64Or: 0x84,
  i64Shl: 0x86,
  i64ShrU: 0x88,
  i64ExtendI32U: 0xad,
  refNull: 0xd0,
  refFunc: 0xd2,
  miscPrefix: 0xfc,
  simdPrefix: 0xfd,
} as const;

/** Opcodes behind the prefix 0xfc that are treated on their own; below them are the saturating conversions. */
export const misc = {
  memoryInit: 8,
  dataDrop: 9,
  memoryCopy: 10,
  memoryFill: 11,
  tableInit: 12,
  elemDrop: 13,
  tableCopy: 14,
  tableGrow: 15,
  tableSize: 16,
  tableFill: 17,
} as const;

export const valueType = {
  i32: 0x7f,
  i64: 0x7e,
  f32: 0x7d,
  f64: 0x7c,
  v128: 0x7b,
  funcref: 0x70,
  externref: 0x6f,
  exnref: 0x69,
};

/** An empty block type. */
export const EMPTY_BLOCK = 0x40;

/** What follows an opcode. `special`: the analysis reads it itself; `refused`: not an instruction that is metered. */
export const immediate = {
  none: 0,
  integer: 1,
  memory: 2,
  bytes4: 3,
  bytes8: 4,
  special: 5,
  refused: 6,
} as const;

export const immediates: Uint8Array = new Uint8Array(256).fill(immediate.refused);

function set(kind: number, first: number, last = first): void {
  immediates.fill(kind, first, last + 1);
}
set(immediate.special, 0x00, 0x13);
set(immediate.special, 0x18, 0x19);
set(immediate.none, 0x1a, 0x1b);
set(immediate.special, 0x1c);
set(immediate.special, 0x1f);
set(immediate.integer, 0x20, 0x24);
set(immediate.special, 0x25, 0x26);
set(immediate.memory, 0x28, 0x3e);
set(immediate.special, 0x3f, 0x40);
set(immediate.integer, 0x41, 0x42);
set(immediate.bytes4, 0x43);
set(immediate.bytes8, 0x44);
set(immediate.none, 0x45, 0xc4);
set(immediate.special, 0xd0, 0xd2);
set(immediate.special, 0xfc, 0xfd);

/** Names for what is refused, by the first opcode of a range. */
export function describeRefused(opcode: number): string {
  if (opcode === 0x14 || opcode === 0x15 || (opcode >= 0xd3 && opcode <= 0xd6)) return "a typed function reference";
  if (opcode >= 0xe0 && opcode <= 0xe6) return "stack switching";
  if (opcode === 0xfb) return "a garbage-collected type";
  if (opcode === 0xfe) return "an atomic instruction";
  return `the instruction 0x${opcode.toString(16).padStart(2, "0")}`;
}
