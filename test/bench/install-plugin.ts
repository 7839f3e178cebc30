import { readFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { connectBus } from "@millrace/bus";
import { encodePluginRecord, PluginSchema, PluginState } from "@millrace/protocol";

export interface InstalledPlugin {
  readonly name: string;
  readonly type: string;
  readonly export: string;
  readonly file: string;
  readonly version?: string;
  readonly stateful?: boolean;
  /** Hosts that it may reach. */
  readonly http?: readonly string[];
}

/** Puts a module where workers find it, as PluginService does, with one handler. */
export async function installPlugin(port: number, plugin: InstalledPlugin): Promise<void> {
  await using bus = await connectBus({ servers: `nats://127.0.0.1:${port}`, name: "bench-install" });
  const module = new Uint8Array(readFileSync(plugin.file));
  await bus.modules.put(module);
  const capabilities = { http: [...(plugin.http ?? [])] };
  const record = create(PluginSchema, {
    manifest: {
      name: plugin.name,
      version: plugin.version ?? "1.0.0",
      handlers: [{ type: plugin.type, export: plugin.export }],
      stateful: plugin.stateful ?? false,
      capabilities,
    },
    granted: capabilities,
    sha256: createHash("sha256").update(module).digest("hex"),
    sizeBytes: BigInt(module.length),
    state: PluginState.ACTIVE,
  });
  await bus.kv("plugins").put(plugin.name, encodePluginRecord(record));
}
