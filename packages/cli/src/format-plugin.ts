import {
  PluginState,
  type Plugin,
  type PluginCapabilities,
  type PluginCanary,
  type PluginManifest,
  type PluginVersion,
  type WatchPluginLogsResponse,
} from "@millrace/protocol";
import { formatTime } from "./format-job.ts";
import { formatFields, printable, type Column } from "./format-table.ts";

const stateNames = new Map<PluginState, string>(
  Object.entries(PluginState).map(([name, state]) => [state, name.toLowerCase()]),
);

/** The word of the lifecycle: installed, resolved, starting, active, stopping, uninstalled. */
export function pluginStateName(state: PluginState): string {
  return stateNames.get(state) ?? "unknown";
}

export function formatPlugin(plugin: Plugin | undefined): string {
  if (plugin === undefined) return "";
  const { manifest } = plugin;
  return formatFields([
    ["name", manifest?.name ?? ""],
    ["version", manifest?.version ?? ""],
    ["description", manifest?.description ?? ""],
    ["author", manifest?.author ?? ""],
    ["state", pluginStateName(plugin.state)],
    ["reason", plugin.stateReason],
    ...extensionPoints(manifest),
    ["declares", formatCapabilities(manifest?.capabilities)],
    ["granted", grantedText(plugin)],
    ["signed by", plugin.signature === undefined ? "nobody" : `key ${plugin.signature.keyId}`],
    ["canary", formatCanary(plugin.canary)],
    ["previous", versionName(plugin.previous)],
    ["sha256", plugin.sha256],
    ["size", `${plugin.sizeBytes} bytes`],
    ["uploaded", formatTime(plugin.uploadedAt)],
  ]);
}

/** Empty when there are none. */
export function formatCapabilities(capabilities: PluginCapabilities | undefined): string {
  if (capabilities === undefined) return "";
  const { http, kvBytes, secrets, events, jobs } = capabilities;
  const parts: readonly (readonly [string, readonly string[]])[] = [
    ["http", http],
    ["kv", kvBytes === 0n ? [] : [`${kvBytes} bytes`]],
    ["secrets", secrets],
    ["events", events],
    ["jobs", jobs],
  ];
  return parts
    .filter(([, values]) => values.length > 0)
    .map(([name, values]) => `${name} (${values.join(", ")})`)
    .join(", ");
}

/** How a version is told from others of the same number. */
export function versionName(version: PluginVersion | undefined): string {
  return version === undefined ? "" : `${version.manifest?.version ?? ""} (${version.sha256.slice(0, 12)})`;
}

export function formatCanary(canary: PluginCanary | undefined): string {
  if (canary === undefined) return "";
  return `${versionName(canary.version)} gets ${canary.percent} % of the jobs since ${formatTime(canary.startedAt)}`;
}

function grantedText({ manifest, granted }: Plugin): string {
  const declared = formatCapabilities(manifest?.capabilities);
  if (declared === "") return "";
  const given = formatCapabilities(granted);
  return given === declared ? "all" : given || `none; grant with: millrace plugin grant ${manifest?.name ?? ""} all`;
}

function extensionPoints(manifest: PluginManifest | undefined): [string, string][] {
  if (manifest === undefined) return [];
  const { events, schedules, interceptors, endpoints } = manifest;
  return [
    ["types", types(manifest)],
    ["events", events.map((event) => `${event.pattern} → ${event.export}`).join(", ")],
    ["schedules", schedules.map(({ name, cron, export: run }) => `${name} (${cron}) → ${run}`).join(", ")],
    ["interceptors", interceptors.map((interceptor) => interceptor.export).join(", ")],
    ["endpoints", endpoints.map(({ path, export: run }) => `/ext/${manifest.name}/${path} → ${run}`).join(", ")],
  ];
}

function types(manifest: PluginManifest | undefined): string {
  return (manifest?.handlers ?? []).map((handler) => `${handler.type} → ${handler.export}`).join(", ");
}

export const pluginColumns: readonly Column<Plugin>[] = [
  { head: "name", cell: (plugin) => plugin.manifest?.name ?? "" },
  { head: "version", cell: (plugin) => plugin.manifest?.version ?? "" },
  {
    head: "canary",
    cell: ({ canary }) =>
      canary === undefined ? "" : `${canary.version?.manifest?.version ?? ""} ${canary.percent} %`,
  },
  { head: "state", cell: (plugin) => pluginStateName(plugin.state) },
  { head: "size", cell: (plugin) => plugin.sizeBytes, align: "right" },
  { head: "sha256", cell: (plugin) => plugin.sha256.slice(0, 12) },
  { head: "types", cell: (plugin) => types(plugin.manifest) },
];

/** Columns of the versions of a plugin as it stands. */
export function versionColumns(plugin: Plugin | undefined): readonly Column<PluginVersion>[] {
  return [
    { head: "version", cell: (version) => version.manifest?.version ?? "" },
    { head: "", cell: (version) => roleOf(version, plugin) },
    { head: "sha256", cell: (version) => version.sha256.slice(0, 12) },
    { head: "size", cell: (version) => version.sizeBytes, align: "right" },
    { head: "uploaded", cell: (version) => formatTime(version.uploadedAt) },
    { head: "signed by", cell: (version) => version.signature?.keyId ?? "" },
    { head: "granted", cell: (version) => formatCapabilities(version.granted) },
  ];
}

function roleOf(version: PluginVersion, plugin: Plugin | undefined): string {
  const name = versionName(version);
  if (plugin === undefined) return "";
  if (name === versionName(plugin.canary?.version)) return `canary, ${plugin.canary?.percent ?? 0} %`;
  if (plugin.manifest?.version === version.manifest?.version && plugin.sha256 === version.sha256) return "serves";
  return name === versionName(plugin.previous) ? "previous" : "";
}

/** One line: which version stands how, and why. */
export function formatStanding(plugin: Plugin | undefined): string {
  if (plugin === undefined) return "";
  const { manifest, state, stateReason, canary } = plugin;
  const why = stateReason === "" ? "" : `: ${stateReason}`;
  const beside = canary === undefined ? "" : `; ${formatCanary(canary)}`;
  return `${manifest?.name ?? ""} ${manifest?.version ?? ""} is ${pluginStateName(state)}${why}${beside}`;
}

export function formatLogLine({ at, level, jobId, version, text }: WatchPluginLogsResponse): string {
  return printable([formatTime(at), level.padEnd(5), version, jobId || "-", text].join("  "));
}
