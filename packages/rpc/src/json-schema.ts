import { ScalarType, type DescEnum, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { fieldRules } from "./field-rules.ts";

export type JsonSchema = { [keyword: string]: unknown };

/** Schemas of messages in their protobuf JSON form, collected by name as they are asked for. */
export interface SchemaCollector {
  /** A reference to the message's schema. */
  message(desc: DescMessage): JsonSchema;
  field(field: DescField): JsonSchema;
  readonly schemas: Readonly<Record<string, JsonSchema>>;
}

// The JSON forms of https://protobuf.dev/programming-guides/json.
const wellKnown: Readonly<Record<string, JsonSchema>> = {
  "google.protobuf.Timestamp": { type: "string", format: "date-time" },
  "google.protobuf.Duration": { type: "string", pattern: "^-?[0-9]+(\\.[0-9]+)?s$" },
  "google.protobuf.Value": { description: "Any JSON value." },
  "google.protobuf.Struct": { type: "object" },
  "google.protobuf.ListValue": { type: "array" },
  "google.protobuf.Empty": { type: "object" },
};

export function createSchemaCollector(): SchemaCollector {
  const schemas: Record<string, JsonSchema> = {};

  function message(desc: DescMessage): JsonSchema {
    const known = wellKnown[desc.typeName];
    if (known !== undefined) return known;
    if (schemas[desc.typeName] === undefined) {
      const schema: JsonSchema = { type: "object", additionalProperties: false };
      schemas[desc.typeName] = schema; // before its fields: a message may contain itself
      const required = desc.fields.filter((one) => fieldRules(one)?.required === true).map((one) => one.jsonName);
      schema["properties"] = Object.fromEntries(desc.fields.map((one) => [one.jsonName, field(one)]));
      if (required.length > 0) schema["required"] = required;
      const notes = desc.oneofs
        .filter((oneof) => oneof.fields.length > 1)
        .map((oneof) => `At most one of ${oneof.fields.map((one) => one.jsonName).join(", ")}.`);
      if (notes.length > 0) schema["description"] = notes.join(" ");
    }
    return { $ref: `#/components/schemas/${desc.typeName}` };
  }

  function enumeration(desc: DescEnum): JsonSchema {
    schemas[desc.typeName] ??= { type: "string", enum: desc.values.map((value) => value.name) };
    return { $ref: `#/components/schemas/${desc.typeName}` };
  }

  function single(field: DescField): JsonSchema {
    if (field.message !== undefined) return message(field.message);
    if (field.enum !== undefined) return enumeration(field.enum);
    return field.scalar === undefined ? {} : scalarSchema(field.scalar);
  }

  function field(desc: DescField): JsonSchema {
    const rules = fieldRules(desc);
    if (desc.fieldKind === "map") {
      const values =
        desc.mapKind === "message"
          ? message(desc.message)
          : desc.mapKind === "enum"
            ? enumeration(desc.enum)
            : scalarSchema(desc.scalar);
      return { type: "object", additionalProperties: values };
    }
    if (desc.fieldKind === "list") {
      const list: JsonSchema = { type: "array", items: single(desc) };
      if (rules?.type.case === "repeated") {
        const { minItems, maxItems, unique, items } = rules.type.value;
        if (minItems > 0n) list["minItems"] = Number(minItems);
        if (maxItems > 0n) list["maxItems"] = Number(maxItems);
        if (unique) list["uniqueItems"] = true;
        if (items !== undefined && desc.message === undefined)
          list["items"] = { ...single(desc), ...ruleKeywords(items) };
      }
      return list;
    }
    return { ...single(desc), ...(rules === undefined ? {} : ruleKeywords(rules)) };
  }

  return { message, field, schemas };
}

function scalarSchema(scalar: ScalarType): JsonSchema {
  switch (scalar) {
    case ScalarType.BOOL:
      return { type: "boolean" };
    case ScalarType.STRING:
      return { type: "string" };
    case ScalarType.BYTES:
      return { type: "string", contentEncoding: "base64" };
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: "number" };
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return { type: "string", format: "int64" };
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return { type: "string", format: "uint64" };
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return { type: "integer", minimum: 0, maximum: 0xffff_ffff };
    default:
      return { type: "integer", format: "int32" };
  }
}

type Rules = NonNullable<ReturnType<typeof fieldRules>>;

function ruleKeywords(rules: Rules): JsonSchema {
  const out: JsonSchema = {};
  switch (rules.type.case) {
    case "string": {
      const { minLen, maxLen, pattern } = rules.type.value;
      if (minLen > 0n) out["minLength"] = Number(minLen);
      if (maxLen > 0n) out["maxLength"] = Number(maxLen);
      if (pattern !== "") out["pattern"] = pattern;
      break;
    }
    case "int32":
    case "uint32": {
      const { lessThan, greaterThan } = rules.type.value;
      if (lessThan.case === "lte") out["maximum"] = lessThan.value;
      if (lessThan.case === "lt") out["exclusiveMaximum"] = lessThan.value;
      if (greaterThan.case === "gte") out["minimum"] = greaterThan.value;
      if (greaterThan.case === "gt") out["exclusiveMinimum"] = greaterThan.value;
      break;
    }
    default:
      break;
  }
  return out;
}
