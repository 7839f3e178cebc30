/** Writes modules too large, or of features too new, for a text. Source: the specification's "Binary Format". */
export type Bytes = readonly number[];

/** Sections by their id. */
export const section = {
  type: 1,
  import: 2,
  function: 3,
  memory: 5,
  global: 6,
  export: 7,
  element: 9,
  code: 10,
  data: 11,
};

export function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

/** Items behind their count. */
export function vector(items: readonly Bytes[]): number[] {
  return [...leb(items.length), ...items.flat()];
}

/** `count` times the same item. */
export function repeated(count: number, item: Bytes): Uint8Array {
  const head = leb(count);
  const bytes = new Uint8Array(head.length + count * item.length);
  bytes.set(head);
  for (let i = 0; i < count; i++) bytes.set(item, head.length + i * item.length);
  return bytes;
}

export function moduleOf(...sections: readonly (readonly [id: number, content: Bytes | Uint8Array])[]): Uint8Array {
  const parts = sections.map(([id, content]) => ({ head: [id, ...leb(content.length)], content }));
  const magic = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  const bytes = new Uint8Array(
    magic.length + parts.reduce((sum, { head, content }) => sum + head.length + content.length, 0),
  );
  bytes.set(magic);
  let at = magic.length;
  for (const { head, content } of parts) {
    bytes.set(head, at);
    bytes.set(content, at + head.length);
    at += head.length + content.length;
  }
  return bytes;
}

/** Type 0 is () -> (). */
export const noParameters: Bytes = [0x60, 0, 0];

/** Exports function `index` as `run`. */
export function exportRun(index = 0): readonly [number, Bytes] {
  return [section.export, vector([[3, ...new TextEncoder().encode("run"), 0, ...leb(index)]])];
}

/** A function body behind its size: groups of locals, and instructions without the last `end`. */
export function body(locals: readonly Bytes[], instructions: Bytes | Uint8Array): Uint8Array {
  const head = vector(locals);
  const size = leb(head.length + instructions.length + 1);
  const bytes = new Uint8Array(size.length + head.length + instructions.length + 1);
  bytes.set(size);
  bytes.set(head, size.length);
  bytes.set(instructions, size.length + head.length);
  bytes[bytes.length - 1] = 0x0b;
  return bytes;
}

/** A module with one function `run` of type () -> (), and whatever comes between. */
export function oneFunction(
  code: Uint8Array,
  ...others: readonly (readonly [number, Bytes | Uint8Array])[]
): Uint8Array {
  const before = others.filter(([id]) => id < section.export && id !== section.type);
  const after = others.filter(([id]) => id > section.export);
  const types = others.find(([id]) => id === section.type) ?? ([section.type, vector([noParameters])] as const);
  const isLast = ([id]: readonly [number, unknown]): boolean => id > section.code;
  return moduleOf(
    types,
    [section.function, vector([[0]])],
    ...before,
    exportRun(),
    ...after.filter((item) => !isLast(item)),
    [section.code, Uint8Array.from([1, ...code])],
    ...after.filter(isLast),
  );
}
