import { create } from "@bufbuild/protobuf";
import { isJobType, PluginManifestSchema, type ErrorDetail, type PluginManifest } from "@millrace/protocol";

export type ParsedManifest =
  | { readonly ok: true; readonly manifest: PluginManifest }
  | { readonly ok: false; readonly problems: readonly ErrorDetail[] };

const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
const MAX_HANDLERS = 64;

/** Upper bounds of the figures under `limits`. */
const limitMaxima = {
  timeoutMs: 3_600_000,
  memoryPages: 65_536,
  outputBytes: 64 * 1024 * 1024,
  logBytes: 16 * 1024 * 1024,
} as const;
type LimitName = keyof typeof limitMaxima;

const fields: ReadonlySet<string> = new Set([
  "name",
  "version",
  "description",
  "author",
  "handlers",
  "limits",
  "stateful",
]);

/** Turns what a YAML or JSON parser made of `plugin.yaml` into a manifest, or says all that is wrong with it. */
export function parseManifest(value: unknown): ParsedManifest {
  if (!isRecord(value)) return { ok: false, problems: [{ field: "manifest", reason: "must be a mapping" }] };
  const problems: ErrorDetail[] = unknownFields(value, fields, "");
  const text = (field: string, test: (text: string) => boolean, rule: string, fallback?: string): string => {
    const found = value[field] ?? fallback;
    if (typeof found === "string" && test(found)) return found;
    problems.push({ field, reason: found === undefined ? `is missing; ${rule}` : rule });
    return "";
  };
  const isSemver = (text: string) => text.length <= 64 && SEMVER.test(text);
  const manifest = create(PluginManifestSchema, {
    name: text("name", (name) => NAME.test(name), "must be 1 to 64 of a-z, 0-9, _ and -, not starting with _ or -"),
    version: text("version", isSemver, 'must be a semantic version in quotes, such as "1.2.3"'),
    description: text("description", (line) => line.length <= 1024, "must be text of at most 1024 characters", ""),
    author: text("author", (line) => line.length <= 256, "must be text of at most 256 characters", ""),
    handlers: parseHandlers(value["handlers"], problems),
    limits: parseLimits(value["limits"], problems),
    stateful: value["stateful"] === true,
  });
  if (!["undefined", "boolean"].includes(typeof value["stateful"])) {
    problems.push({ field: "stateful", reason: "must be true or false" });
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, manifest };
}

function parseHandlers(value: unknown, problems: ErrorDetail[]): { type: string; export: string }[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_HANDLERS) {
    problems.push({ field: "handlers", reason: `must be a list of 1 to ${MAX_HANDLERS} mappings of type and export` });
    return [];
  }
  const seen = new Set<string>();
  return value.flatMap((item: unknown, index) => {
    const field = `handlers[${index}]`;
    if (!isRecord(item)) {
      problems.push({ field, reason: "must be a mapping of type and export" });
      return [];
    }
    problems.push(...unknownFields(item, new Set(["type", "export"]), `${field}.`));
    const { type, export: exportName } = item;
    if (typeof type !== "string" || !isJobType(type)) {
      problems.push({ field: `${field}.type`, reason: "must be 1 to 64 of A-Z, a-z, 0-9, _ and -" });
      return [];
    }
    if (seen.has(type)) problems.push({ field: `${field}.type`, reason: `"${type}" has a handler already` });
    seen.add(type);
    if (typeof exportName !== "string" || exportName.length === 0 || exportName.length > 128) {
      problems.push({ field: `${field}.export`, reason: "must be the name of an exported function" });
      return [];
    }
    return [{ type, export: exportName }];
  });
}

function parseLimits(value: unknown, problems: ErrorDetail[]): Partial<Record<LimitName, number>> {
  if (value == null) return {};
  if (!isRecord(value)) {
    problems.push({ field: "limits", reason: "must be a mapping" });
    return {};
  }
  const names = Object.keys(limitMaxima) as LimitName[];
  problems.push(...unknownFields(value, new Set<string>(names), "limits."));
  const limits: Partial<Record<LimitName, number>> = {};
  for (const name of names) {
    const figure = value[name];
    if (figure === undefined) continue;
    if (typeof figure === "number" && Number.isInteger(figure) && figure >= 1 && figure <= limitMaxima[name]) {
      limits[name] = figure;
    } else {
      problems.push({ field: `limits.${name}`, reason: `must be a whole number from 1 to ${limitMaxima[name]}` });
    }
  }
  return limits;
}

function unknownFields(value: Record<string, unknown>, known: ReadonlySet<string>, prefix: string): ErrorDetail[] {
  return Object.keys(value)
    .filter((field) => !known.has(field))
    .map((field) => ({ field: `${prefix}${field}`, reason: "is not a field of a plugin manifest" }));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
