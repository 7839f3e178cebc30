import { MillraceError, type PluginCapabilities, type PluginManifest } from "@millrace/protocol";
import {
  capabilitiesOf,
  inspectModule,
  loadPlugin,
  manifestLimits,
  PluginRefused,
  type LoadedPlugin,
} from "@millrace/plugin-host";

/**
 * Loads a plugin as a worker does, under the limits of its manifest.
 * @throws MillraceError failed_precondition with every reason why a worker would refuse it
 */
export async function loadLocalPlugin(
  manifest: PluginManifest,
  module: Uint8Array,
  granted: PluginCapabilities | undefined,
): Promise<LoadedPlugin> {
  const { name, version, config, stateful } = manifest;
  const inspection = inspectModule(module, manifest);
  if (!inspection.ok) throw refused(name, new PluginRefused(inspection.problems));
  try {
    return await loadPlugin(module, {
      name,
      version,
      config,
      stateful,
      limits: manifestLimits(manifest.limits),
      granted: capabilitiesOf(granted),
    });
  } catch (error) {
    if (error instanceof PluginRefused) throw refused(name, error);
    throw error;
  }
}

function refused(name: string, cause: PluginRefused): MillraceError {
  return new MillraceError("failed_precondition", `${name} is refused`, { details: cause.problems, cause });
}
