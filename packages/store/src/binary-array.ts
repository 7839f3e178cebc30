/**
 * One-dimensional arrays in PostgreSQL's binary format (array_send in src/backend/utils/adt/arrayfuncs.c): a column of
 * a batch as one parameter. Against the text format it needs no quoting, and bytea travels as it is instead of as hex.
 *
 * A column without any value is sent as an empty array: `unnest` fills shorter columns with null.
 */
type Column<T> = readonly (T | null | undefined)[];

const oids = { bytea: 17, int8: 20, int4: 23, text: 25, timestamptz: 1184, jsonb: 3802 } as const;
const headerBytes = 20;
/** Microseconds between 1970 and 2000, the epoch of timestamptz. */
const epochMs = 946_684_800_000;

function header(buffer: Buffer, oid: number, length: number, hasNull: boolean): number {
  buffer.writeInt32BE(1, 0);
  buffer.writeInt32BE(hasNull ? 1 : 0, 4);
  buffer.writeInt32BE(oid, 8);
  buffer.writeInt32BE(length, 12);
  buffer.writeInt32BE(1, 16);
  return headerBytes;
}

function emptyArray(oid: number): Buffer {
  const buffer = Buffer.alloc(12);
  buffer.writeInt32BE(oid, 8);
  return buffer;
}

function countNulls(values: Column<unknown>): number {
  let nulls = 0;
  for (const value of values) if (value == null) nulls++;
  return nulls;
}

function fixedArray(
  oid: number,
  width: number,
  values: Column<number>,
  write: (b: Buffer, v: number, at: number) => void,
) {
  const nulls = countNulls(values);
  if (nulls === values.length) return emptyArray(oid);
  const buffer = Buffer.allocUnsafe(headerBytes + values.length * 4 + (values.length - nulls) * width);
  let at = header(buffer, oid, values.length, nulls > 0);
  for (const value of values) {
    if (value == null) {
      at = buffer.writeInt32BE(-1, at);
    } else {
      at = buffer.writeInt32BE(width, at);
      write(buffer, value, at);
      at += width;
    }
  }
  return buffer;
}

function writeInt8(buffer: Buffer, value: number, at: number): void {
  // Whole doubles up to 2^53, of either sign, without the cost of a BigInt.
  const high = Math.floor(value / 0x1_0000_0000);
  buffer.writeInt32BE(high, at);
  buffer.writeUInt32BE(value - high * 0x1_0000_0000, at + 4);
}

export function int4Array(values: Column<number>): Buffer {
  return fixedArray(oids.int4, 4, values, (buffer, value, at) => buffer.writeInt32BE(value, at));
}

export function int8Array(values: Column<number>): Buffer {
  return fixedArray(oids.int8, 8, values, writeInt8);
}

/** @param values Unix milliseconds */
export function timestampArray(values: Column<number>): Buffer {
  return fixedArray(oids.timestamptz, 8, values, (buffer, value, at) =>
    writeInt8(buffer, Math.round((value - epochMs) * 1000), at),
  );
}

export function byteaArray(values: Column<Uint8Array>): Buffer {
  const nulls = countNulls(values);
  if (nulls === values.length) return emptyArray(oids.bytea);
  let size = headerBytes + values.length * 4;
  for (const value of values) size += value?.length ?? 0;
  const buffer = Buffer.allocUnsafe(size);
  let at = header(buffer, oids.bytea, values.length, nulls > 0);
  for (const value of values) {
    at = buffer.writeInt32BE(value == null ? -1 : value.length, at);
    if (value == null) continue;
    buffer.set(value, at);
    at += value.length;
  }
  return buffer;
}

export function textArray(values: Column<string>): Buffer {
  return stringArray(oids.text, 0, values);
}

/** @param values JSON documents */
export function jsonbArray(values: Column<string>): Buffer {
  return stringArray(oids.jsonb, 1, values);
}

function stringArray(oid: number, prefixBytes: number, values: Column<string>): Buffer {
  const nulls = countNulls(values);
  if (nulls === values.length) return emptyArray(oid);
  let size = headerBytes;
  // UTF-8 takes at most three bytes for each UTF-16 unit.
  for (const value of values) size += 4 + prefixBytes + (value == null ? 0 : value.length * 3);
  const buffer = Buffer.allocUnsafe(size);
  let at = header(buffer, oid, values.length, nulls > 0);
  for (const value of values) {
    if (value == null) {
      at = buffer.writeInt32BE(-1, at);
      continue;
    }
    const start = at + 4;
    // jsonb_recv wants its format version first.
    if (prefixBytes === 1) buffer[start] = 1;
    const length = prefixBytes + buffer.write(storable(value), start + prefixBytes, "utf8");
    buffer.writeInt32BE(length, at);
    at = start + length;
  }
  return buffer.subarray(0, at);
}

/** PostgreSQL stores every character but NUL. */
function storable(text: string): string {
  return text.includes("\0") ? text.replaceAll("\0", "\uFFFD") : text;
}

/** For jsonb, which refuses the escape of NUL, in names as in values. */
export function storableJson(value: unknown): string {
  const text = JSON.stringify(value);
  // A backslash before it would make it six plain characters, unless that is escaped itself.
  return text.includes("\\u0000") ? text.replaceAll(/(?<!\\)((?:\\\\)*)\\u0000/g, "$1\uFFFD") : text;
}
