import {
  InterceptorFailure,
  InterceptorPhase,
  isTaggableExport,
  type ErrorDetail,
  type PluginCapabilities,
  type PluginManifest,
} from "@millrace/protocol";
import { Cron } from "croner";
import { valid } from "semver";

const mostConfigPairs = 64;
/** Of all names and values together. */
const mostConfigBytes = 64 * 1024;
/** As in the contract's PluginEventHandler. */
const eventPattern = /^([a-z0-9_-]+|\*)(\.([a-z0-9_-]+|\*))*(\.>)?$|^>$/;
/** `host`, `*.host`, with a scheme or a port. */
const httpHost =
  /^(https?:\/\/)?(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:\d{1,5})?$|^(https?:\/\/)?\[[0-9a-f:.]+\](:\d{1,5})?$/;
const jobType = /^[A-Za-z0-9_-]{1,64}$/;

/** What is wrong with a manifest that its annotations in the contract cannot say. */
export function manifestProblems(manifest: PluginManifest): ErrorDetail[] {
  return [
    ...versionProblems(manifest),
    ...extensionProblems(manifest),
    ...scheduleProblems(manifest),
    ...interceptorProblems(manifest),
    ...configProblems(manifest.config),
    ...capabilityProblems(manifest.capabilities),
  ];
}

function versionProblems({ version, minimumPlatform }: PluginManifest): ErrorDetail[] {
  const problems: ErrorDetail[] = [];
  if (valid(version) === null) {
    problems.push({ field: "manifest.version", reason: `${JSON.stringify(version)} is not a semantic version` });
  }
  if (minimumPlatform !== "" && valid(minimumPlatform) === null) {
    const reason = `${JSON.stringify(minimumPlatform)} is not a semantic version`;
    problems.push({ field: "manifest.minimum_platform", reason });
  }
  return problems;
}

function extensionProblems(manifest: PluginManifest): ErrorDetail[] {
  const { handlers, events, schedules, interceptors, endpoints } = manifest;
  if ([handlers, events, schedules, interceptors, endpoints].every((list) => list.length === 0)) {
    const reason = "extends nothing: it needs a handler, event, schedule, interceptor or endpoint";
    return [{ field: "manifest", reason }];
  }
  return [
    ...untaggable("events", events),
    ...untaggable("schedules", schedules),
    ...twice(
      handlers.map(({ type }) => type),
      (index, type) => ({ field: `manifest.handlers[${index}].type`, reason: `${type} has a handler already` }),
    ),
    ...twice(
      schedules.map(({ name }) => name),
      (index, name) => ({ field: `manifest.schedules[${index}].name`, reason: `there is a schedule ${name} already` }),
    ),
    ...twice(
      endpoints.flatMap(({ path, methods }) =>
        methods.length === 0 ? [path] : methods.map((method) => `${method} ${path}`),
      ),
      (_, route) => ({ field: "manifest.endpoints", reason: `${route} has an endpoint already` }),
    ),
  ];
}

/** What hears of events or runs by time is called by a job, which names it in a tag. */
function untaggable(list: string, items: readonly { readonly export: string }[]): ErrorDetail[] {
  return items.flatMap((item, index) =>
    isTaggableExport(item.export)
      ? []
      : [{ field: `manifest.${list}[${index}].export`, reason: "must be 1 to 57 of A-Z, a-z, 0-9 and _.:/=-" }],
  );
}

function twice(names: readonly string[], problem: (index: number, name: string) => ErrorDetail): ErrorDetail[] {
  return names.flatMap((name, index) => (names.indexOf(name) === index ? [] : [problem(index, name)]));
}

function scheduleProblems({ schedules }: PluginManifest): ErrorDetail[] {
  return schedules.flatMap(({ cron, timeZone }, index) => {
    const field = `manifest.schedules[${index}]`;
    const zone = timeZone || "UTC";
    if (!isTimeZone(zone)) return [{ field: `${field}.time_zone`, reason: `${JSON.stringify(zone)} is no time zone` }];
    const reason = cronProblem(cron, zone);
    return reason === undefined ? [] : [{ field: `${field}.cron`, reason }];
  });
}

function cronProblem(cron: string, timezone: string): string | undefined {
  const fields = cron.trim().split(/\s+/).length;
  if (fields !== 5 && fields !== 6) return `has ${fields} fields; five, or six with seconds in front`;
  try {
    // Paused: it is only read, no timer is set.
    return new Cron(cron, { paused: true, timezone }).nextRun() === null ? "never comes" : undefined;
  } catch (error) {
    return error instanceof Error ? error.message : "is no cron expression";
  }
}

function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone }).format();
    return true;
  } catch {
    return false;
  }
}

function interceptorProblems({ interceptors }: PluginManifest): ErrorDetail[] {
  return interceptors.flatMap(({ phase, onFailure, pathPrefixes }, index) => {
    const field = `manifest.interceptors[${index}]`;
    const problems: ErrorDetail[] = [];
    if (phase !== InterceptorPhase.BEFORE && phase !== InterceptorPhase.AFTER) {
      problems.push({ field: `${field}.phase`, reason: "must be before or after" });
    }
    if (onFailure !== InterceptorFailure.OPEN && onFailure !== InterceptorFailure.CLOSED) {
      problems.push({ field: `${field}.on_failure`, reason: "must be open or closed" });
    }
    if (pathPrefixes.some((prefix) => !prefix.startsWith("/"))) {
      problems.push({ field: `${field}.path_prefixes`, reason: "must begin with /" });
    }
    return problems;
  });
}

function configProblems(config: Readonly<Record<string, string>>): ErrorDetail[] {
  const pairs = Object.entries(config);
  const bytes = pairs.reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0);
  const field = "manifest.config";
  if (pairs.length > mostConfigPairs)
    return [{ field, reason: `has ${pairs.length} pairs; at most ${mostConfigPairs}` }];
  return bytes > mostConfigBytes ? [{ field, reason: `has ${bytes} bytes; at most ${mostConfigBytes}` }] : [];
}

function capabilityProblems(declared: PluginCapabilities | undefined): ErrorDetail[] {
  if (declared === undefined) return [];
  const wrong = (list: "http" | "events" | "jobs", test: (item: string) => boolean, rule: string): ErrorDetail[] =>
    declared[list].flatMap((item, index) =>
      test(item)
        ? []
        : [{ field: `manifest.capabilities.${list}[${index}]`, reason: `${JSON.stringify(item)} ${rule}` }],
    );
  return [
    ...wrong("http", (host) => httpHost.test(host), "is not a host, such as api.example.com:8443 or *.example.com"),
    ...wrong("events", (pattern) => eventPattern.test(pattern), "is not a pattern of events, such as user.*"),
    ...wrong("jobs", (type) => type === "*" || jobType.test(type), "is not a job type, nor *"),
  ];
}
