import type { DescMessage } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Values that one message may have: fields, entries of lists and maps, at any depth. Each takes some 0.5 µs and 200 bytes of memory
 * to make, in which nobody else is served, while two bytes are enough to ask for one. A payload of more is text or bytes to us.
 */
export const mostValues = 250_000;

/** No message of so few bytes has more values than that. */
const harmlessBytes = mostValues;

/**
 * Looks at a message before it is made.
 * @throws ConnectError invalid_argument when it has more than {@link mostValues} values
 */
export function boundValues(desc: DescMessage, bytes: Uint8Array, binary: boolean): void {
  if (bytes.byteLength <= harmlessBytes) return;
  if (binary) boundBinary(desc, bytes);
  else boundJson(bytes);
}

const [quote, backslash, comma, colon, openArray, openObject] = [0x22, 0x5c, 0x2c, 0x3a, 0x5b, 0x7b] as const;

/** RFC 8259: each value but the first comes after one of these, and strings end at the next quote that is not escaped. */
function boundJson(bytes: Uint8Array): void {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let values = 0;
  for (let at = 0; at < text.length; at += 1) {
    const byte = text[at];
    if (byte === quote) at = endOfString(text, at + 1);
    else if (byte === comma || byte === colon || byte === openArray || byte === openObject) {
      values += 1;
      if (values > mostValues) throw tooMany();
    }
  }
}

/** @returns where the quote is; the end of the text where there is none */
function endOfString(text: Buffer, from: number): number {
  for (let at = from; ; at += 1) {
    at = text.indexOf(quote, at);
    if (at === -1) return text.length;
    let slashes = 0;
    while (at - slashes > from && text[at - slashes - 1] === backslash) slashes += 1;
    if (slashes % 2 === 0) return at;
  }
}

/** Of protobuf's binary form, by its wire format (https://protobuf.dev/programming-guides/encoding/). */
function boundBinary(desc: DescMessage, bytes: Uint8Array): void {
  try {
    countFields(shapeOf(desc), new BinaryReader(bytes), bytes.byteLength, mostDepth, { values: mostValues });
  } catch (reason) {
    if (reason instanceof ConnectError) throw reason;
    // What is no message is left to whoever decodes it: that ends at the same place.
  }
}

/** As deep as messages are decoded. */
const mostDepth = 100;

/** Of the fields that hold messages, by number, what is in those. */
type Shape = Map<number, Shape>;
const shapes = new WeakMap<DescMessage, Shape>();

function shapeOf(desc: DescMessage): Shape {
  const known = shapes.get(desc);
  if (known !== undefined) return known;
  const shape: Shape = new Map();
  shapes.set(desc, shape); // before its fields: messages may hold their own kind
  for (const field of desc.fields) {
    if (field.message === undefined) continue;
    const inside = shapeOf(field.message);
    // An entry of a map is a message with the key as field 1, and the value as field 2.
    shape.set(field.number, field.fieldKind === "map" ? new Map([[2, inside]]) : inside);
  }
  return shape;
}

function countFields(shape: Shape, reader: BinaryReader, end: number, depth: number, left: { values: number }): void {
  while (reader.pos < end) {
    left.values -= 1;
    if (left.values < 0) throw tooMany();
    const [number, type] = reader.tag();
    const inside = type === WireType.LengthDelimited && depth > 0 ? shape.get(number) : undefined;
    if (inside === undefined) reader.skip(type, number);
    else {
      const length = reader.uint32();
      countFields(inside, reader, reader.pos + length, depth - 1, left);
    }
  }
}

function tooMany(): ConnectError {
  return new ConnectError(`message has more than ${mostValues} values`, Code.InvalidArgument);
}
