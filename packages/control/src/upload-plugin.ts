import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  MillraceError,
  PluginCanarySchema,
  PluginSchema,
  PluginState,
  PluginVersionSchema,
  version as platformVersion,
  type ErrorDetail,
  type Plugin,
  type PluginManifest,
  type PluginVersion,
  type UploadPluginRequest,
} from "@millrace/protocol";
import { lt, prerelease } from "semver";
import { moved } from "./advance-plugin.ts";
import type { ControlContext } from "./control-context.ts";
import { grantCapabilities, parseGrants, refuseUndeclared } from "./grant-capabilities.ts";
import { keepVersion } from "./keep-version.ts";
import { manifestProblems } from "./manifest-problems.ts";
import { handOver, isSameVersion, servingVersion, withoutCanary, withVersion } from "./plugin-versions.ts";
import { servedTypes } from "./type-claims.ts";

/**
 * Installs a plugin, or another version of it. While a version serves, the new one takes over in one change of the record,
 * after its own hooks went well: until then nothing happens to what serves.
 */
export async function uploadPlugin(context: ControlContext, request: UploadPluginRequest): Promise<{ plugin: Plugin }> {
  const { manifest, module } = request;
  if (manifest === undefined) throw refused([{ field: "manifest", reason: "is missing" }]);
  const grants = parseGrants(request.grants);
  refuseManifest(manifest);
  refuseUndeclared(request.grants, [manifest]);
  const version = create(PluginVersionSchema, {
    manifest,
    sha256: createHash("sha256").update(module).digest("hex"),
    sizeBytes: BigInt(module.length),
    uploadedAt: timestampFromMs(Date.now()),
    granted: grantCapabilities(manifest.capabilities, grants),
    ...(request.signature === undefined ? {} : { signature: request.signature }),
  });
  const refusal = await context.keys.refuse(version);
  if (refusal !== undefined) throw new MillraceError("permission_denied", `the plugin is not trusted: ${refusal}`);
  await checkModule(context, manifest, module);
  const { name } = manifest;
  const types = manifest.handlers.map(({ type }) => type);
  const before = await context.plugins.find(name);
  await context.typeClaims.claim(name, types);
  try {
    // The module before the row, and the row before the record, that name it.
    await context.bus.modules.put(module);
    await keepVersion(context, version, grants, isReplaceable(manifest));
    // Again: whoever took it for unused, before the row was there, keeps it or has deleted it.
    await context.bus.modules.put(module);
    const plugin = await install(context, request, version, before);
    context.events.pluginUploaded(plugin);
    return { plugin };
  } finally {
    await releaseTypes(context, name, [...types, ...(before === undefined ? [] : servedTypes(before.plugin))]);
  }
}

/** Its number may be given to another module: what an author tries out. */
function isReplaceable({ version }: PluginManifest): boolean {
  return prerelease(version)?.[0] === "dev";
}

async function install(
  context: ControlContext,
  { disabled, canaryPercent, canaryBounds }: UploadPluginRequest,
  version: PluginVersion,
  before: { readonly plugin: Plugin; readonly revision: number } | undefined,
): Promise<Plugin> {
  const name = version.manifest?.name ?? "";
  const isServing = before?.plugin.state === PluginState.ACTIVE;
  if (canaryPercent > 0) {
    if (!isServing || disabled) {
      throw new MillraceError("failed_precondition", "a canary runs beside a version that serves, and none does");
    }
    if (isSameVersion(servingVersion(before.plugin), version)) {
      throw new MillraceError("failed_precondition", "this version serves already; a canary is another one");
    }
    await bringUp(context, before.plugin, version);
    const startedAt = timestampFromMs(Date.now());
    const bounds = canaryBounds === undefined ? {} : { bounds: canaryBounds };
    return context.plugins.change(name, (found) => {
      refuseUnlessServing(found);
      const canary = create(PluginCanarySchema, { version, percent: canaryPercent, startedAt, ...bounds });
      return { ...withoutCanary(found), canary, stateReason: "" };
    });
  }
  if (isServing && !disabled) {
    await bringUp(context, before.plugin, version);
    return context.plugins.change(name, (found) => {
      refuseUnlessServing(found);
      return { ...moved(takeOver(found, version), "swapped"), enabled: true };
    });
  }
  const base = before?.plugin.state === PluginState.UNINSTALLED ? undefined : before?.plugin;
  const uploaded = moved(
    base === undefined ? withVersion(create(PluginSchema), version) : takeOver(base, version),
    "uploaded",
  );
  const plugin = await context.lifecycle.prepare({ ...uploaded, enabled: !disabled });
  await context.plugins.write(plugin, before?.revision);
  if (isServing) await context.lifecycle.runOut(before.plugin, "on_disable");
  return context.lifecycle.settle(name);
}

/** The version that can be gone back to is the last one that was fit to run. */
function takeOver(plugin: Plugin, version: PluginVersion): Plugin {
  const isFit = plugin.state !== PluginState.INSTALLED && !isSameVersion(servingVersion(plugin), version);
  return isFit ? handOver(plugin, version) : withVersion(withoutCanary(plugin), version);
}

/** Runs the hooks of a version that is to serve beside, or in the place of, one that serves. */
async function bringUp(context: ControlContext, serving: Plugin, version: PluginVersion): Promise<void> {
  if (isSameVersion(servingVersion(serving), version)) return;
  for (const hook of ["on_install", "on_enable"] as const) {
    const end = await context.hooks.run(version, hook);
    if (end.kind === "done") continue;
    const goesOn = `${serving.manifest?.version ?? "the version before"} goes on serving`;
    if (end.kind === "failed") throw new MillraceError("failed_precondition", `${end.reason}; ${goesOn}`);
    throw new MillraceError("unavailable", `no worker is there to run ${hook}; ${goesOn}`, { retryAfterMs: 5000 });
  }
}

function refuseUnlessServing(plugin: Plugin): void {
  if (plugin.state === PluginState.ACTIVE) return;
  throw new MillraceError("aborted", "the plugin was switched off meanwhile; upload it again");
}

async function releaseTypes(context: ControlContext, name: string, types: readonly string[]): Promise<void> {
  try {
    const found = await context.plugins.find(name);
    const served = found === undefined ? [] : servedTypes(found.plugin);
    await context.typeClaims.release(
      name,
      types.filter((type) => !served.includes(type)),
    );
  } catch (error) {
    // A claim that stays behind is taken over after a while.
    context.events.lifecycleInterrupted(name, error);
  }
}

function refuseManifest(manifest: PluginManifest): void {
  const problems = manifestProblems(manifest);
  if (problems.length > 0) throw refused(problems);
  const { minimumPlatform } = manifest;
  if (minimumPlatform === "" || !lt(platformVersion, minimumPlatform)) return;
  const reason = `needs Millrace ${minimumPlatform} or newer; this is ${platformVersion}`;
  throw new MillraceError("failed_precondition", `the plugin ${reason}`, {
    details: [{ field: "manifest.minimum_platform", reason }],
  });
}

/** What no worker could run is refused here: no WASM, a missing export, imports that nobody gives, limits that do not fit. */
async function checkModule(context: ControlContext, manifest: PluginManifest, module: Uint8Array): Promise<void> {
  // Each starts a thread: side by side they take no longer than one of them.
  const [{ problems }, loading] = await Promise.all([
    context.inspector.inspect(module, manifest),
    context.dryRunner.check(module, manifest),
  ]);
  if (problems.length > 0) throw refused(problems);
  if (loading.length > 0) throw refused(loading);
}

function refused(details: readonly ErrorDetail[]): MillraceError {
  const words = details.map(({ field, reason }) => `${field}: ${reason}`).join("; ");
  return new MillraceError("invalid_argument", words, { details });
}
