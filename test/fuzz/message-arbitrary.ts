import {
  create,
  fromJson,
  getExtension,
  hasExtension,
  ScalarType,
  type DescEnum,
  type DescField,
  type DescMessage,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import * as rules from "@bufbuild/protovalidate/gen/buf/validate/validate_pb.js";
import fc from "fast-check";

export interface MessageOptions {
  /** Keeps the rules of the contract; else only the types are right. */
  readonly lawful: boolean;
  /** Texts for a field that the system under test knows; undefined where it knows none. */
  readonly known: (field: DescField, index: number) => string | undefined;
  /** Values of fields, by full name, that stand for those made from the descriptor, or are made of them. */
  readonly special: Readonly<
    Record<string, fc.Arbitrary<unknown> | ((any: fc.Arbitrary<unknown>) => fc.Arbitrary<unknown>)>
  >;
}

// Lists and maps stay small: what many elements do is the siege's question.
const maxItems = 4;
const maxDepth = 4;
const yearOne = -62_135_596_800n;
const year9999 = 253_402_300_799n;

/** Texts that programs trip over. */
export const oddTexts = [
  "\u0000",
  "a\u0000b",
  "\ufeff",
  "\u202e",
  "💥",
  "e\u0301",
  "\uffff",
  "İ",
  "ß".repeat(130),
  "x".repeat(5000),
  "../../etc/passwd",
  "..",
  ".",
  "*",
  ">",
  "a.b",
  "a b",
  "%00",
  "%",
  "'; DROP TABLE jobs; --",
  "\\",
  "{{7*7}}",
  "${7*7}",
  "__proto__",
  "constructor",
  "toString",
  "null",
  "NaN",
  "-1",
  "\r\nx: y",
  "\u{10ffff}",
] as const;

/** Messages of a type, as its descriptor and, where they are to be lawful, its rules describe them. */
export function messageArbitrary(desc: DescMessage, options: MessageOptions, depth = 0): fc.Arbitrary<Message> {
  if (desc.typeName === ValueSchema.typeName) return valueArbitrary(options.lawful);
  if (desc.typeName === "google.protobuf.Timestamp") return timestampArbitrary(desc, options.lawful);
  const parts = desc.members.flatMap((member): fc.Arbitrary<Record<string, unknown>>[] => {
    if (member.kind === "field") return [present(member, fieldArbitrary(member, options, depth))];
    const cases = member.fields.map((field) =>
      fieldArbitrary(field, options, depth).map((value) => ({ case: field.localName, value })),
    );
    const chosen = fc.oneof(...cases).map((value) => ({ [member.localName]: value }));
    return [fc.oneof({ weight: 1, arbitrary: fc.constant({}) }, { weight: 4, arbitrary: chosen })];
  });
  return fc
    .tuple(...parts)
    .map((fields) => create(desc, Object.assign({}, ...fields) as MessageInitShape<DescMessage>));
}

/** A field is left out now and then; one that must be there is left out seldom. */
function present(field: DescField, value: fc.Arbitrary<unknown>): fc.Arbitrary<Record<string, unknown>> {
  const needed = isNeeded(field);
  const there = value.map((one) => ({ [field.localName]: one }));
  return fc.oneof({ weight: needed ? 0 : 3, arbitrary: fc.constant({}) }, { weight: 3, arbitrary: there });
}

function isNeeded(field: DescField): boolean {
  const rule = rulesOf(field);
  if (rule === undefined) return field.name === "id" || field.name === "name";
  const { type } = rule;
  if (type.case === "string") return type.value.minLen > 0n || type.value.pattern !== "";
  return rule.required || (type.case === "bytes" && type.value.minLen > 0n);
}

function rulesOf(field: DescField): rules.FieldRules | undefined {
  const options = field.proto.options;
  if (options === undefined || !hasExtension(options, rules.field)) return undefined;
  return getExtension(options, rules.field);
}

function fieldArbitrary(field: DescField, options: MessageOptions, depth: number): fc.Arbitrary<unknown> {
  const special = options.special[`${field.parent.typeName}.${field.name}`];
  if (special === undefined) return plainArbitrary(field, options, depth);
  return typeof special === "function" ? special(plainArbitrary(field, options, depth)) : special;
}

function plainArbitrary(field: DescField, options: MessageOptions, depth: number): fc.Arbitrary<unknown> {
  const rule = rulesOf(field);
  switch (field.fieldKind) {
    case "list": {
      const bounds = rule?.type.case === "repeated" ? rule.type.value : undefined;
      const minLength = options.lawful ? Number(bounds?.minItems ?? 0n) : 0;
      const most = options.lawful ? Number(bounds?.maxItems ?? 0n) || maxItems : maxItems;
      const item = elementArbitrary(field, options, bounds?.items, depth);
      return fc.array(item, { minLength, maxLength: Math.max(minLength, Math.min(maxItems, most)) });
    }
    case "map":
      return fc.dictionary(fc.string({ maxLength: 8 }), elementArbitrary(field, options, undefined, depth), {
        maxKeys: maxItems,
        noNullPrototype: true,
      });
    default:
      return elementArbitrary(field, options, rule, depth);
  }
}

function elementArbitrary(
  field: DescField,
  options: MessageOptions,
  rule: rules.FieldRules | undefined,
  depth: number,
): fc.Arbitrary<unknown> {
  if (field.enum !== undefined) return enumArbitrary(field.enum, options.lawful);
  if (field.message !== undefined) {
    return depth >= maxDepth ? fc.constant(create(field.message)) : messageArbitrary(field.message, options, depth + 1);
  }
  if (field.scalar !== ScalarType.STRING) return scalarArbitrary(field.scalar, options.lawful ? rule : undefined);
  const made = stringArbitrary(options.lawful ? rule : undefined);
  const known = fc.tuple(fc.nat(), made).map(([index, other]) => options.known(field, index) ?? other);
  return fc.oneof({ weight: 3, arbitrary: known }, { weight: 2, arbitrary: made });
}

function enumArbitrary(desc: DescEnum, lawful: boolean): fc.Arbitrary<number> {
  const declared = fc.constantFrom(...desc.values.map((value) => value.number));
  return lawful ? declared : fc.oneof(declared, fc.integer());
}

function stringArbitrary(rule: rules.FieldRules | undefined): fc.Arbitrary<string> {
  if (rule?.type.case !== "string") return fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom(...oddTexts));
  const { pattern, minLen, maxLen } = rule.type.value;
  const [least, most] = [Number(minLen), Number(maxLen) || 1024];
  if (pattern !== "") {
    return fc.stringMatching(new RegExp(pattern)).filter((text) => text.length >= least && text.length <= most);
  }
  // Code points are what the rule counts; a few of them are as good as all.
  const maxLength = Math.max(least, Math.min(most, 40));
  const fits = oddTexts.filter((text) => [...text].length >= least && [...text].length <= most);
  const odd = fits.length === 0 ? [] : [fc.constantFrom(...fits)];
  return fc.oneof(
    fc.string({ minLength: least, maxLength }),
    fc.string({ unit: "binary", minLength: least, maxLength }),
    fc.constant("x".repeat(most)),
    ...odd,
  );
}

function scalarArbitrary(scalar: ScalarType, rule: rules.FieldRules | undefined): fc.Arbitrary<unknown> {
  const { least, most } = numberBounds(rule);
  switch (scalar) {
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.BYTES: {
      const bounds = rule?.type.case === "bytes" ? rule.type.value : undefined;
      const [minLength, allowed] = [Number(bounds?.minLen ?? 0n), Number(bounds?.maxLen ?? 0n) || 64];
      return fc.uint8Array({ minLength, maxLength: Math.max(minLength, Math.min(allowed, 64)) });
    }
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return fc.double();
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return fc.bigInt({ min: least ?? -(2n ** 63n), max: most ?? 2n ** 63n - 1n });
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return fc.bigInt({ min: least ?? 0n, max: most ?? 2n ** 64n - 1n });
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return fc.integer({ min: Number(least ?? 0n), max: Number(most ?? 2n ** 32n - 1n) });
    default:
      return fc.integer({ min: Number(least ?? -(2n ** 31n)), max: Number(most ?? 2n ** 31n - 1n) });
  }
}

function numberBounds(rule: rules.FieldRules | undefined): { least?: bigint; most?: bigint } {
  const type = rule?.type;
  if (type?.case !== "uint32" && type?.case !== "uint64" && type?.case !== "int64" && type?.case !== "int32") return {};
  const { greaterThan, lessThan } = type.value;
  return {
    ...(greaterThan.case === "gte" ? { least: BigInt(greaterThan.value) } : {}),
    ...(lessThan.case === "lte" ? { most: BigInt(lessThan.value) } : {}),
  };
}

/** Any JSON; where it need not be lawful also what JSON cannot say. */
function valueArbitrary(lawful: boolean): fc.Arbitrary<Message> {
  const json = fc
    .jsonValue({ maxDepth: 3, stringUnit: "binary" })
    .map((value) => fromJson(ValueSchema, value as never) as Message);
  if (lawful) return json;
  const number = (value: number) => create(ValueSchema, { kind: { case: "numberValue", value } });
  return fc.oneof(json, fc.constantFrom(create(ValueSchema), number(Number.NaN), number(Infinity), number(-0)));
}

function timestampArbitrary(desc: DescMessage, lawful: boolean): fc.Arbitrary<Message> {
  const soon = fc.integer({ min: -100_000, max: 100_000 }).map((off) => BigInt(Math.floor(Date.now() / 1000) + off));
  const seconds = lawful
    ? fc.oneof(soon, fc.bigInt({ min: yearOne, max: year9999 }))
    : fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const nanos = lawful ? fc.integer({ min: 0, max: 999_999_999 }) : fc.integer();
  return fc.record({ seconds, nanos }).map((init) => create(desc, init as unknown as MessageInitShape<DescMessage>));
}
