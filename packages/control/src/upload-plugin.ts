import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  MillraceError,
  PluginSchema,
  PluginState,
  type ErrorDetail,
  type Plugin,
  type PluginManifest,
  type UploadPluginRequest,
} from "@millrace/protocol";
import { inspectModule } from "@millrace/plugin-host";
import type { ControlContext } from "./control-context.ts";
import { nameOf } from "./plugin-registry.ts";

/** Installs or replaces a plugin: workers load the module as soon as its record is written. */
export async function uploadPlugin(context: ControlContext, request: UploadPluginRequest): Promise<{ plugin: Plugin }> {
  const { manifest, module } = request;
  if (manifest === undefined) throw refused([{ field: "manifest", reason: "is missing" }]);
  refuseTwice(manifest);
  await checkModule(context, manifest, module);
  return context.plugins.exclusively(async () => {
    await refuseServedTypes(context, manifest);
    // The module before the record that names it.
    const sha256 = await context.bus.modules.put(module);
    const before = await context.plugins.find(manifest.name);
    const plugin = create(PluginSchema, {
      manifest,
      sha256,
      sizeBytes: BigInt(module.length),
      state: request.disabled ? PluginState.RESOLVED : PluginState.ACTIVE,
      uploadedAt: timestampFromMs(Date.now()),
    });
    await context.plugins.write(plugin, before?.revision);
    context.events.pluginUploaded(plugin);
    return { plugin };
  });
}

function refuseTwice(manifest: PluginManifest): void {
  const types = manifest.handlers.map((handler) => handler.type);
  const twice = types.flatMap((type, index) =>
    types.indexOf(type) === index
      ? []
      : [{ field: `manifest.handlers[${index}].type`, reason: `${type} has a handler already` }],
  );
  if (twice.length > 0) throw refused(twice);
}

/** What no worker could run is refused here: no WASM, a missing export, imports that nobody gives, limits that do not fit. */
async function checkModule(context: ControlContext, manifest: PluginManifest, module: Uint8Array): Promise<void> {
  const inspection = await inspectModule(module, { handlers: manifest.handlers });
  if (!inspection.ok) throw refused(inspection.problems);
  const problems = await context.dryRunner.check(module, manifest);
  if (problems.length > 0) throw refused(problems);
}

async function refuseServedTypes(context: ControlContext, manifest: PluginManifest): Promise<void> {
  const types = new Set(manifest.handlers.map((handler) => handler.type));
  for (const other of await context.plugins.all()) {
    if (nameOf(other) === manifest.name || other.state === PluginState.UNINSTALLED) continue;
    const served = other.manifest?.handlers.find((handler) => types.has(handler.type));
    if (served === undefined) continue;
    throw new MillraceError("already_exists", `type ${served.type} is served by plugin ${nameOf(other)}`, {
      details: [{ field: "manifest.handlers", reason: `type ${served.type} is served by plugin ${nameOf(other)}` }],
    });
  }
}

function refused(details: readonly ErrorDetail[]): MillraceError {
  const words = details.map(({ field, reason }) => `${field}: ${reason}`).join("; ");
  return new MillraceError("invalid_argument", words, { details });
}
