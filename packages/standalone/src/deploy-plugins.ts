import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { equals } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import type { Bus } from "@millrace/bus";
import { parseManifest } from "@millrace/plugin-host";
import {
  decodePluginRecord,
  PluginManifestSchema,
  PluginService,
  PluginState,
  type PluginManifest,
} from "@millrace/protocol";
import type { RpcTransport } from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import { parse } from "yaml";

interface PluginFolder {
  readonly manifest: PluginManifest;
  readonly module: Uint8Array;
}

/**
 * Uploads each `<dir>/<name>/plugin.yaml` with its `<name>.wasm` that differs from what is installed. What an operator has
 * disabled stays disabled, and what was deleted stays deleted until its files change.
 * @returns names of the plugins that serve
 */
export async function deployPlugins(
  dir: string,
  { bus, transport, logger }: { bus: Bus; transport: RpcTransport; logger: Logger },
): Promise<string[]> {
  const client = createClient(PluginService, transport);
  const serving: string[] = [];
  for (const folder of await foldersOf(dir)) {
    const path = join(dir, folder);
    try {
      const { manifest, module } = await readPluginFolder(path, folder);
      const entry = await bus.kv("plugins").get(manifest.name);
      const installed = entry === undefined ? undefined : decodePluginRecord(entry.value);
      const sha256 = createHash("sha256").update(module).digest("hex");
      const isSame =
        installed?.manifest !== undefined &&
        installed.sha256 === sha256 &&
        equals(PluginManifestSchema, installed.manifest, manifest);
      const disabled = installed?.state === PluginState.RESOLVED;
      if (!isSame) await client.uploadPlugin({ manifest, module, disabled });
      if (isSame ? installed.state === PluginState.ACTIVE : !disabled) serving.push(manifest.name);
    } catch (error) {
      // One folder that does not work must not keep the system from starting.
      logger.error({ folder: path, err: error }, "plugin not deployed");
    }
  }
  return serving;
}

async function foldersOf(dir: string): Promise<string[]> {
  const folders: string[] = [];
  const items = await readdir(dir, { withFileTypes: true }).catch(() => []);
  for (const item of items) {
    if (!item.isDirectory() || item.name === "node_modules") continue;
    if ((await readdir(join(dir, item.name))).includes("plugin.yaml")) folders.push(item.name);
  }
  return folders.toSorted();
}

async function readPluginFolder(path: string, folder: string): Promise<PluginFolder> {
  const parsed = parseManifest(parse(await readFile(join(path, "plugin.yaml"), "utf8")));
  if (!parsed.ok) {
    throw new Error(`plugin.yaml: ${parsed.problems.map(({ field, reason }) => `${field} ${reason}`).join("; ")}`);
  }
  return { manifest: parsed.manifest, module: new Uint8Array(await readFile(join(path, `${folder}.wasm`))) };
}
