import { create, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import {
  InterceptorFailure,
  InterceptorPhase,
  isJobType,
  PluginManifestSchema,
  type ErrorDetail,
  type PluginManifest,
} from "@millrace/protocol";
import { manifestExports } from "./manifest-exports.ts";
import { isRecord, ManifestReader } from "./manifest-reader.ts";

export type ParsedManifest =
  | { readonly ok: true; readonly manifest: PluginManifest }
  | { readonly ok: false; readonly problems: readonly ErrorDetail[] };

const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;
const SEMVER = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/;
/** As in plugin.proto. */
const EVENT_PATTERN = /^([a-z0-9_-]+|\*)(\.([a-z0-9_-]+|\*))*(\.>)?$|^>$/;
const SCHEDULE_NAME = /^[a-z0-9][a-z0-9_-]{0,31}$/;
const ENDPOINT_PATH = /^[A-Za-z0-9_.~/-]*(\/?\*)?$/;
const HTTP_HOST = /^(https?:\/\/)?((\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/;
const SECRET_NAME = /^[A-Za-z0-9_-]{1,64}$/;

const MAX_KV_BYTES = 1024 ** 3;
const MAX_INTERCEPTOR_TIMEOUT_MS = 10_000;
const MAX_CONFIG_VALUES = 64;
const MAX_CONFIG_VALUE_LENGTH = 4096;

/** Upper bounds of the figures under `limits`. */
const limitMaxima = {
  timeoutMs: 3_600_000,
  memoryPages: 65_536,
  outputBytes: 64 * 1024 * 1024,
  logBytes: 16 * 1024 * 1024,
  fuel: 1e15,
  tableEntries: 10_000_000,
  callDepth: 10_000,
  hostCalls: 1_000_000,
  varBytes: 64 * 1024 * 1024,
} as const;

const known = {
  manifest:
    "name version description author handlers limits stateful events schedules interceptors endpoints capabilities minimumPlatform config",
  interceptor: "phase pathPrefixes export onFailure order timeoutMs",
  capabilities: "http kvBytes secrets events jobs",
};

/** Turns what a YAML or JSON parser made of `plugin.yaml` into a manifest, or says all that is wrong with it. */
export function parseManifest(value: unknown): ParsedManifest {
  if (!isRecord(value)) return { ok: false, problems: [{ field: "manifest", reason: "must be a mapping" }] };
  const reader = new ManifestReader(value, known.manifest.split(" "));
  const manifest = create(PluginManifestSchema, {
    name: reader.text(
      "name",
      (name) => NAME.test(name),
      "must be 1 to 64 of a-z, 0-9, _ and -, not starting with _ or -",
    ),
    version: reader.text("version", isSemver, 'must be a semantic version in quotes, such as "1.2.3"'),
    description: reader.text("description", upTo(1024), "must be text of at most 1024 characters", ""),
    author: reader.text("author", upTo(256), "must be text of at most 256 characters", ""),
    handlers: parseHandlers(reader),
    limits: parseLimits(reader),
    stateful: reader.flag("stateful"),
    events: reader.mappings("events", 32, ["pattern", "export"], (item) => ({
      pattern: item.text("pattern", isEventPattern, eventRule),
      export: exportOf(item),
    })),
    schedules: parseSchedules(reader),
    interceptors: parseInterceptors(reader),
    endpoints: reader.mappings("endpoints", 64, ["path", "methods", "export"], (item) => ({
      path: item.text(
        "path",
        (path) => path.length <= 256 && ENDPOINT_PATH.test(path),
        "must be a path; a last /* takes all below",
      ),
      methods: item.texts("methods", 8, (method) => /^[A-Z]{3,7}$/.test(method), "must be a method in capitals"),
      export: exportOf(item),
    })),
    capabilities: parseCapabilities(reader),
    minimumPlatform: reader.text("minimumPlatform", isSemver, "must be a semantic version in quotes", ""),
    config: parseConfig(reader),
  });
  const { problems } = reader;
  if (problems.length === 0 && manifestExports(manifest).length === 0) {
    reader.refuse("handlers", "must have at least one item; or events, schedules, interceptors or endpoints must");
  }
  return problems.length > 0 ? { ok: false, problems } : { ok: true, manifest };
}

const upTo = (length: number) => (text: string) => text.length <= length;
const isSemver = (text: string) => text.length <= 64 && SEMVER.test(text);
const isEventPattern = (text: string) => text.length <= 256 && EVENT_PATTERN.test(text);
const eventRule = "must be an event's name or pattern, such as user.login, job.* or audit.>";

function exportOf(item: ManifestReader): string {
  return item.text(
    "export",
    (name) => name.length > 0 && name.length <= 128,
    "must be the name of an exported function",
  );
}

function parseHandlers(reader: ManifestReader): { type: string; export: string }[] {
  const seen = new Set<string>();
  return reader.mappings("handlers", 64, ["type", "export"], (item) => {
    const type = item.text("type", isJobType, "must be 1 to 64 of A-Z, a-z, 0-9, _ and -");
    if (type !== "" && seen.has(type)) item.refuse("type", `"${type}" has a handler already`);
    seen.add(type);
    return { type, export: exportOf(item) };
  });
}

type LimitName = keyof typeof limitMaxima;

function parseLimits(reader: ManifestReader): { fuel: bigint } & Record<Exclude<LimitName, "fuel">, number> {
  const item = reader.mapping("limits", Object.keys(limitMaxima));
  const figure = (name: LimitName) => item.integer(name, 1, limitMaxima[name]);
  return {
    timeoutMs: figure("timeoutMs"),
    memoryPages: figure("memoryPages"),
    outputBytes: figure("outputBytes"),
    logBytes: figure("logBytes"),
    fuel: BigInt(figure("fuel")),
    tableEntries: figure("tableEntries"),
    callDepth: figure("callDepth"),
    hostCalls: figure("hostCalls"),
    varBytes: figure("varBytes"),
  };
}

function parseSchedules(reader: ManifestReader) {
  const seen = new Set<string>();
  return reader.mappings("schedules", 32, ["name", "cron", "timeZone", "export", "input"], (item) => {
    const name = item.text("name", (text) => SCHEDULE_NAME.test(text), "must be 1 to 32 of a-z, 0-9, _ and -");
    if (name !== "" && seen.has(name)) item.refuse("name", `"${name}" is scheduled already`);
    seen.add(name);
    const input = item.raw("input");
    return {
      name,
      cron: item.text("cron", isCron, "must be five fields, or six with seconds in front"),
      timeZone: item.text("timeZone", isTimeZone, "must be an IANA time zone, such as Europe/Vienna", ""),
      export: exportOf(item),
      ...(input === undefined ? {} : { input: fromJson(ValueSchema, input as JsonValue) }),
    };
  });
}

/** The fields themselves are checked where schedules are made. */
function isCron(text: string): boolean {
  return text.length <= 128 && [5, 6].includes(text.trim().split(/\s+/).length);
}

function isTimeZone(text: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: text }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

function parseInterceptors(reader: ManifestReader) {
  return reader.mappings("interceptors", 16, known.interceptor.split(" "), (item) => ({
    phase:
      item.choice("phase", { before: InterceptorPhase.BEFORE, after: InterceptorPhase.AFTER }) ??
      InterceptorPhase.UNSPECIFIED,
    pathPrefixes: item.texts("pathPrefixes", 32, (path) => path.startsWith("/"), "must be a path that starts with /"),
    export: exportOf(item),
    // No default: whether a broken interceptor stops requests or lets them pass is for its author to say.
    onFailure:
      item.choice("onFailure", { open: InterceptorFailure.OPEN, closed: InterceptorFailure.CLOSED }) ??
      InterceptorFailure.UNSPECIFIED,
    order: item.integer("order", -(2 ** 31), 2 ** 31 - 1),
    timeoutMs: item.integer("timeoutMs", 1, MAX_INTERCEPTOR_TIMEOUT_MS),
  }));
}

function parseCapabilities(reader: ManifestReader) {
  const item = reader.mapping("capabilities", known.capabilities.split(" "));
  const hostRule = "must be a host: api.example.com, api.example.com:8443, http://host:8080 or *.example.com";
  return {
    http: item.texts("http", 64, (host) => host.length <= 300 && HTTP_HOST.test(host), hostRule),
    kvBytes: BigInt(item.integer("kvBytes", 1, MAX_KV_BYTES)),
    secrets: item.texts("secrets", 64, (name) => SECRET_NAME.test(name), "must be 1 to 64 of A-Z, a-z, 0-9, _ and -"),
    events: item.texts("events", 64, isEventPattern, eventRule),
    jobs: item.texts("jobs", 64, (type) => type === "*" || isJobType(type), "must be a job type, or * for any"),
  };
}

function parseConfig(reader: ManifestReader): Record<string, string> {
  const config: Record<string, string> = {};
  const entries = Object.entries(reader.record("config"));
  if (entries.length > MAX_CONFIG_VALUES) reader.refuse("config", `has more than ${MAX_CONFIG_VALUES} values`);
  for (const [name, value] of entries) {
    if (typeof value === "string" && value.length <= MAX_CONFIG_VALUE_LENGTH) config[name] = value;
    else reader.refuse(`config.${name}`, `must be text of at most ${MAX_CONFIG_VALUE_LENGTH} characters`);
  }
  return config;
}
