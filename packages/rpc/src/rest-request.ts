import {
  create,
  fromJson,
  isFieldSet,
  type DescField,
  type DescMessage,
  type JsonValue,
  type Message,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorDetail } from "@millrace/protocol";
import { boundValues, mostValues } from "./bound-values.ts";
import { fieldError } from "./rpc-error.ts";
import type { RestRoute } from "./rest-routes.ts";

/** Wrong fields that are looked for; an answer has no room for more. */
const maxProblems = 100;

type JsonObject = { [name: string]: JsonValue };

const decoder = new TextDecoder("utf-8", { fatal: true });
// Fields that a stream resumes after: SSE's Last-Event-ID is put into the first that the request has.
const resumeFields = ["resume_after", "last_event_id"];

/**
 * Makes the request message of a route from path variables, query and body.
 * @throws invalid_argument that names every field it cannot take
 */
export function decodeRestRequest(
  route: RestRoute,
  values: readonly string[],
  query: string,
  body: Uint8Array,
  lastEventId: string | undefined,
): Message {
  const desc = route.method.desc.input;
  let json: JsonObject = {};
  if (route.body !== "" && body.byteLength > 0) {
    boundValues(desc, body, false);
    const parsed = parseJson(body);
    if (route.body === "*") {
      if (!isObject(parsed))
        throw malformed("the body must be a JSON object", [{ field: "", reason: "not an object" }]);
      json = parsed;
    } else {
      json[route.body] = parsed;
    }
  }
  if (query !== "") {
    if (route.body === "*")
      throw malformed("this route takes its fields in the body, not in the query", queryNames(query));
    readQuery(desc, query, json);
  }
  route.variables.forEach((path, index) => setPath(desc, json, path, decodePart(values[index] ?? "", path)));
  if (lastEventId !== undefined) {
    const field = resumeFields.find((name) => desc.fields.some((one) => one.name === name));
    if (field !== undefined) json[field] = lastEventId;
  }
  return messageFromJson(desc, json);
}

/** One message of an NDJSON upload. */
export function decodeRestLine(desc: DescMessage, line: string, number: number): Message {
  let json: JsonValue;
  if (line.length > mostValues) boundValues(desc, Buffer.from(line), false);
  try {
    json = JSON.parse(line) as JsonValue;
  } catch (reason) {
    throw malformed("malformed JSON", [{ field: `line[${number}]`, reason: words(reason) }], reason);
  }
  return messageFromJson(desc, json);
}

function parseJson(body: Uint8Array): JsonValue {
  try {
    return JSON.parse(decoder.decode(body)) as JsonValue;
  } catch (reason) {
    throw malformed(`malformed JSON: ${words(reason)}`, [], reason);
  }
}

/** Strict protobuf JSON; enum values may also be written short (`high` for `PRIORITY_HIGH`). */
export function messageFromJson(desc: DescMessage, json: JsonValue): Message {
  if (isObject(json) && Object.keys(json).length === 0) return create(desc);
  try {
    return fromJson(desc, json);
  } catch {
    // The slow path runs only for what strict decoding refuses: short enum names, or a real mistake to explain.
  }
  const problems: ErrorDetail[] = [];
  const repaired = repair(desc, json, "", problems);
  if (problems.length === 0) {
    try {
      return fromJson(desc, repaired);
    } catch (reason) {
      const text = words(reason);
      // From the start only: further on it quotes the caller, and every place in that would be tried.
      const match = /^cannot decode (?:field|oneof) (\S+) from JSON(?:: (.*))?$/s.exec(text);
      problems.push({ field: match?.[1]?.split(".").at(-1) ?? "", reason: match?.[2] ?? text });
    }
  }
  throw malformed(
    problems.map(({ field, reason }) => (field === "" ? reason : `${field}: ${reason}`)).join("; "),
    problems,
  );
}

// Walks what was refused: spells enum values out, and notes unknown fields with their paths.
function repair(desc: DescMessage, json: JsonValue, path: string, problems: ErrorDetail[]): JsonValue {
  // Well-known types have JSON forms of their own.
  if (!isObject(json) || desc.typeName.startsWith("google.protobuf.")) return json;
  const out: JsonObject = {};
  for (const [name, value] of Object.entries(json)) {
    if (problems.length >= maxProblems) break;
    const field = desc.fields.find((one) => one.jsonName === name || one.name === name);
    const at = path === "" ? name : `${path}.${name}`;
    if (field === undefined) {
      problems.push({ field: at, reason: "unknown field" });
      continue;
    }
    if (field.fieldKind === "list" && Array.isArray(value)) {
      out[name] = value.map((item, index) => repairValue(field, item, `${at}[${index}]`, problems));
    } else if (field.fieldKind === "map" && isObject(value) && field.mapKind === "message") {
      const entries = Object.entries(value).map(([key, item]) => [
        key,
        repair(field.message, item, `${at}.${key}`, problems),
      ]);
      out[name] = Object.fromEntries(entries) as JsonObject;
    } else {
      out[name] = repairValue(field, value, at, problems);
    }
  }
  return out;
}

function repairValue(field: DescField, value: JsonValue, path: string, problems: ErrorDetail[]): JsonValue {
  if (field.enum !== undefined && typeof value === "string") return enumName(field, value, path, problems);
  return field.message === undefined ? value : repair(field.message, value, path, problems);
}

function enumName(field: DescField, value: string, path: string, problems: ErrorDetail[]): string {
  const desc = field.enum;
  if (desc === undefined) return value;
  const wanted = value.toUpperCase();
  const prefix = desc.sharedPrefix?.toUpperCase() ?? "";
  const found = desc.values.find((one) => one.name === wanted || one.name === prefix + wanted);
  if (found !== undefined) return found.name;
  const known = desc.values.filter((one) => one.number !== 0).map((one) => one.name.slice(prefix.length).toLowerCase());
  problems.push({ field: path, reason: `must be one of ${known.join(", ")}` });
  return value;
}

function readQuery(desc: DescMessage, query: string, json: JsonObject): void {
  const problems: ErrorDetail[] = [];
  for (const [path, text] of new URLSearchParams(query)) {
    const field = fieldAt(desc, path);
    if (field === undefined) problems.push({ field: path, reason: "unknown field" });
    else setPath(desc, json, path, text);
  }
  if (problems.length > 0) {
    throw malformed(problems.map(({ field, reason }) => `${field}: ${reason}`).join("; "), problems);
  }
}

function fieldAt(desc: DescMessage, path: string): DescField | undefined {
  let message: DescMessage | undefined = desc;
  let field: DescField | undefined;
  for (const name of path.split(".")) {
    field = message?.fields.find((one) => one.name === name || one.jsonName === name);
    if (field === undefined) return undefined;
    message = field.fieldKind === "message" ? field.message : undefined;
  }
  return field?.fieldKind === "map" ? undefined : field;
}

// Query and path values are text; the descriptor says what JSON they stand for.
function setPath(desc: DescMessage, json: JsonObject, path: string, text: string): void {
  const field = fieldAt(desc, path);
  if (field === undefined) throw new ConnectError(`no field ${path} in ${desc.typeName}`, Code.Internal);
  const names = path.split(".");
  const last = names.pop() ?? path;
  let target = json;
  for (const name of names) {
    const inner = target[name];
    target = isObject(inner) ? inner : ((target[name] = {}) as JsonObject);
  }
  // The body may spell the same field the other way; one of both must go, and the path wins.
  if (field.jsonName !== last) delete target[field.jsonName];
  if (field.name !== last) delete target[field.name];
  const value = fromText(field, text);
  if (field.fieldKind !== "list") {
    target[last] = value;
    return;
  }
  const before = target[last];
  const list = Array.isArray(before) ? before : [];
  // An enum list may be written with commas: `states=dead,cancelled`.
  if (field.enum !== undefined) for (const part of text.split(",")) list.push(fromText(field, part));
  else list.push(value);
  target[last] = list;
}

const boolType = 8; // ScalarType.BOOL, as in descriptor.proto

function fromText(field: DescField, text: string): JsonValue {
  if (field.scalar === boolType && (text === "true" || text === "false")) return text === "true";
  if (field.enum !== undefined && /^-?\d+$/.test(text)) return Number(text);
  return text;
}

function decodePart(part: string, field: string): string {
  if (!part.includes("%")) return part;
  try {
    return decodeURIComponent(part);
  } catch (reason) {
    throw malformed("malformed path", [{ field, reason: "not percent-encoded UTF-8" }], reason);
  }
}

function queryNames(query: string): ErrorDetail[] {
  return [...new URLSearchParams(query).keys()].map((field) => ({ field, reason: "not allowed in the query" }));
}

function malformed(message: string, details: readonly ErrorDetail[], cause?: unknown): ConnectError {
  return fieldError(Code.InvalidArgument, message, details, cause);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function words(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}

/** The value of a string field by proto name, when the message has it and it is set. */
export function stringField(message: Message, desc: DescMessage, name: string): string | undefined {
  const field = desc.fields.find((one) => one.name === name);
  if (field === undefined || field.fieldKind !== "scalar" || !isFieldSet(message, field)) return undefined;
  const value = (message as unknown as Readonly<Record<string, unknown>>)[field.localName];
  return typeof value === "string" ? value : undefined;
}
