import { equals } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { Bus } from "@millrace/bus";
import {
  decodePluginRecord,
  PluginManifestSchema,
  PluginService,
  PluginSignatureSchema,
  PluginState,
  type Plugin,
} from "@millrace/protocol";
import type { RpcTransport } from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import { hasManifest, listFolders, readPluginFolder, type PluginFolder } from "./plugin-folder.ts";

export interface DeployDeps {
  readonly bus: Bus;
  readonly transport: RpcTransport;
  readonly logger: Logger;
}

export interface Deployment {
  readonly plugin: Plugin;
  /** False: it was installed like this already. */
  readonly isUploaded: boolean;
}

/**
 * Uploads each plugin of a folder of folders that differs from what is installed.
 * @returns names of the plugins that serve
 */
export async function deployPlugins(dir: string, deps: DeployDeps): Promise<string[]> {
  const deployments = (await listFolders(dir)).map(async (folder) => {
    if (!(await hasManifest(dir, folder))) return [];
    try {
      const { plugin } = await deployPlugin(dir, folder, deps);
      return plugin.state === PluginState.ACTIVE ? [plugin.manifest?.name ?? folder] : [];
    } catch (error) {
      // One folder that does not work must not keep the system from starting.
      deps.logger.error({ folder, err: error }, "plugin not deployed");
      return [];
    }
  });
  return (await Promise.all(deployments)).flat();
}

/**
 * Uploads `<dir>/<folder>` when it differs from what is installed. What an operator has disabled stays disabled, and what
 * was deleted stays deleted until its files change. Who puts a plugin into the folder grants what it declares.
 */
export async function deployPlugin(
  dir: string,
  folder: string,
  { bus, transport }: Pick<DeployDeps, "bus" | "transport">,
): Promise<Deployment> {
  const found = await readPluginFolder(dir, folder);
  const { manifest, module, signature } = found;
  const entry = await bus.kv("plugins").get(manifest.name);
  const installed = entry === undefined ? undefined : decodePluginRecord(entry.value);
  if (installed !== undefined && isInstalled(installed, found)) return { plugin: installed, isUploaded: false };
  const { plugin } = await createClient(PluginService, transport).uploadPlugin({
    manifest,
    module,
    disabled: installed?.state === PluginState.RESOLVED && installed.stateReason === "",
    grants: ["all"],
    ...(signature === undefined ? {} : { signature }),
  });
  if (plugin === undefined) throw new Error("the upload was not answered");
  return { plugin, isUploaded: true };
}

function isInstalled(installed: Plugin, { manifest, sha256, signature }: PluginFolder): boolean {
  const isSigned =
    installed.signature === undefined || signature === undefined
      ? installed.signature === signature
      : equals(PluginSignatureSchema, installed.signature, signature);
  return (
    isSigned &&
    installed.sha256 === sha256 &&
    installed.manifest !== undefined &&
    equals(PluginManifestSchema, installed.manifest, manifest)
  );
}
