const HEADER_BYTES = 8;
const FUNCTION_SECTION = 3;
const CODE_SECTION = 10;

/** A module with the functions of another many times over, until its code has at least this many bytes. */
export function repeatCode(module: Uint8Array, codeBytes: number): Uint8Array<ArrayBuffer> {
  const out: number[] = [];
  let times = 0;
  const sections = sectionsOf(module);
  for (const { id, content } of sections) if (id === CODE_SECTION) times = Math.ceil(codeBytes / content.length);
  for (const { id, content } of sections) {
    out.push(id);
    if (id !== FUNCTION_SECTION && id !== CODE_SECTION) {
      pushNumber(out, content.length);
      for (const byte of content) out.push(byte);
      continue;
    }
    const [count, start] = readNumber(content, 0);
    const items = content.subarray(start);
    const total: number[] = [];
    pushNumber(total, count * times);
    pushNumber(out, total.length + items.length * times);
    out.push(...total);
    for (let left = times; left > 0; left--) for (const byte of items) out.push(byte);
  }
  return Uint8Array.from([...module.subarray(0, HEADER_BYTES), ...out]);
}

function sectionsOf(module: Uint8Array): { readonly id: number; readonly content: Uint8Array }[] {
  const sections: { id: number; content: Uint8Array }[] = [];
  for (let at = HEADER_BYTES; at < module.length;) {
    const [size, start] = readNumber(module, at + 1);
    sections.push({ id: module[at] ?? 0, content: module.subarray(start, start + size) });
    at = start + size;
  }
  return sections;
}

/** Unsigned LEB128, and where it ends. */
function readNumber(bytes: Uint8Array, from: number): [value: number, end: number] {
  let value = 0;
  for (let at = from, scale = 1; ; at++, scale *= 128) {
    const byte = bytes[at] ?? 0;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return [value, at + 1];
  }
}

function pushNumber(out: number[], value: number): void {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 0x80);
  out.push(rest);
}
