// A module for tests, assembled here: each export answers what it is told to, whatever its input.

const i32 = 0x7f;
const i64 = 0x7e;

function unsigned(value: number): number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const low = value & 127;
  const rest = value >> 7;
  return (rest === 0 && low < 64) || (rest === -1 && low >= 64) ? [low] : [low | 128, ...signed(rest)];
}

const text = (value: string): number[] => [...unsigned(Buffer.byteLength(value)), ...Buffer.from(value)];
const list = (items: number[][]): number[] => [...unsigned(items.length), ...items.flat()];
const section = (id: number, body: number[]): number[] => [id, ...unsigned(body.length), ...body];
const type = (from: number[], to: number[]): number[] => [
  0x60,
  ...list(from.map((t) => [t])),
  ...list(to.map((t) => [t])),
];

/** Copies bytes from the module's memory into a block of Extism's, and gives that out. */
function answerBody(base: number, length: number): number[] {
  const code = [
    list([
      [1, i64],
      [1, i32],
    ]),
    // block = alloc(length)
    [0x42, ...signed(length), 0x10, 0, 0x21, 0],
    // while (index < length)
    [0x02, 0x40, 0x03, 0x40, 0x20, 1, 0x41, ...signed(length), 0x4f, 0x0d, 1],
    // store_u8(block + index, load(base + index)); index += 1
    [0x20, 0, 0x20, 1, 0xad, 0x7c, 0x20, 1, 0x2d, 0, ...unsigned(base), 0x10, 1],
    [0x20, 1, 0x41, 1, 0x6a, 0x21, 1, 0x0c, 0, 0x0b, 0x0b],
    // output_set(block, length); return 0
    [0x20, 0, 0x42, ...signed(length), 0x10, 2, 0x41, 0, 0x0b],
  ].flat();
  return [...unsigned(code.length), ...code];
}

/** @param answers what each export answers, as JSON */
export function answeringModule(answers: Readonly<Record<string, object>>): Uint8Array {
  const outputs = Object.values(answers).map((answer) => [...Buffer.from(JSON.stringify(answer))]);
  const bases = outputs.map((_, index) => outputs.slice(0, index).reduce((sum, bytes) => sum + bytes.length, 0));
  const host = (name: string, typeIndex: number): number[] => [...text("extism:host/env"), ...text(name), 0, typeIndex];
  return new Uint8Array([
    ...Buffer.from("\0asm\u0001\0\0\0"),
    ...section(1, list([type([i64], [i64]), type([i64, i32], []), type([i64, i64], []), type([], [i32])])),
    ...section(2, list([host("alloc", 0), host("store_u8", 1), host("output_set", 2)])),
    ...section(3, list(outputs.map(() => [3]))),
    ...section(5, list([[0, 1]])),
    ...section(7, list(Object.keys(answers).map((name, index) => [...text(name), 0, ...unsigned(3 + index)]))),
    ...section(10, list(outputs.map((bytes, index) => answerBody(bases[index] ?? 0, bytes.length)))),
    ...section(11, list([[0, 0x41, 0, 0x0b, ...unsigned(outputs.flat().length), ...outputs.flat()]])),
  ]);
}
