import { create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  pluginKeyId,
  PluginKeySchema,
  PluginSchema,
  PluginState,
  PluginVersionSchema,
  type Plugin,
  type PluginCapabilities,
  type PluginKey,
  type PluginService,
  type PluginVersion,
  type Recording,
  type UploadPluginRequest,
} from "@millrace/protocol";

/** PluginService with everything in memory. */
export class MemoryPlugins {
  readonly plugins = new Map<string, Plugin>();
  readonly uploads: UploadPluginRequest[] = [];
  readonly keys = new Map<string, PluginKey>();
  readonly recordings = new Map<string, Recording>();
  /** Told at every upload. */
  readonly #uploaded: (() => void)[] = [];

  /** Resolves at the next upload. */
  whenUploaded(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#uploaded.push(resolve);
    return promise;
  }

  readonly service: Partial<ServiceImpl<typeof PluginService>> = {
    uploadPlugin: (request) => this.#upload(request),
    listPlugins: () => ({ plugins: [...this.plugins.values()] }),
    getPlugin: ({ name }) => ({ plugin: this.#find(name) }),
    enablePlugin: ({ name }) => this.#set(name, PluginState.ACTIVE),
    disablePlugin: ({ name }) => this.#set(name, PluginState.RESOLVED),
    deletePlugin: ({ name }) => {
      this.#find(name);
      this.plugins.delete(name);
      return {};
    },
    callPlugin: ({ name, export: exported, input }) => {
      this.#find(name);
      if (exported === "fails") {
        const breach = { resource: "fuel", figure: 1_000_001n, limit: 1_000_000n, unit: "units" };
        return { error: { code: "OUT_OF_FUEL", message: "it works too long", breach }, runUs: 10n };
      }
      return { ...(input && { output: input }), runUs: 1500n, logs: ["called"] };
    },
    listPluginVersions: ({ name }) => {
      const uploads = this.uploads.filter(({ manifest }) => manifest?.name === name);
      return { versions: uploads.map(toVersion).toReversed() };
    },
    rollbackPlugin: ({ name }) => {
      const plugin = this.#find(name);
      if (plugin.canary !== undefined) delete plugin.canary;
      else if (plugin.previous?.manifest !== undefined) plugin.manifest = plugin.previous.manifest;
      else throw new ConnectError(`${name} has no previous version`, Code.FailedPrecondition);
      return { plugin };
    },
    promotePlugin: ({ name }) => {
      const plugin = this.#find(name);
      const { canary } = plugin;
      if (canary?.version?.manifest === undefined) {
        throw new ConnectError(`${name} has no canary`, Code.FailedPrecondition);
      }
      plugin.manifest = canary.version.manifest;
      delete plugin.canary;
      return { plugin };
    },
    grantPlugin: ({ name, grants }) => {
      const plugin = this.#find(name);
      plugin.granted = grantedOf(plugin.manifest?.capabilities, grants);
      return { plugin };
    },
    watchPluginLogs: async function* (this: MemoryPlugins, { name }: { name: string }) {
      this.#find(name);
      yield { at: timestampNow(), version: "1.0.0", jobId: "j1", level: "info", text: "hello from the plugin" };
    }.bind(this),
    getRecording: ({ jobId }) => {
      const recording = this.recordings.get(jobId);
      if (recording === undefined) throw new ConnectError(`no recording of job ${jobId}`, Code.NotFound);
      return { recording };
    },
    trustPluginKey: async ({ publicKey, owner, notAfter }) => {
      const keyId = await pluginKeyId(publicKey);
      const trustedAt = timestampNow();
      const key = create(PluginKeySchema, { keyId, publicKey, owner, trustedAt, ...(notAfter && { notAfter }) });
      this.keys.set(keyId, key);
      return { key };
    },
    listPluginKeys: () => ({ keys: [...this.keys.values()] }),
    revokePluginKey: ({ keyId, reason }) => {
      const key = this.keys.get(keyId);
      if (key === undefined) throw new ConnectError(`no key ${keyId}`, Code.NotFound);
      key.revokedAt = timestampNow();
      key.revokedReason = reason;
      return { key };
    },
  };

  #upload(request: UploadPluginRequest): { plugin: Plugin } {
    const { manifest, module, disabled, canaryPercent: percent, signature } = request;
    this.uploads.push(request);
    const before = this.plugins.get(manifest?.name ?? "");
    const granted = grantedOf(manifest?.capabilities, request.grants);
    if (percent > 0 && before !== undefined) {
      before.canary = {
        $typeName: "millrace.plugins.v1.PluginCanary",
        percent,
        version: toVersion(request),
        startedAt: timestampNow(),
      };
    }
    const plugin =
      percent > 0 && before !== undefined
        ? before
        : create(PluginSchema, {
            sha256: "ab".repeat(32),
            sizeBytes: BigInt(module.length),
            state: disabled ? PluginState.RESOLVED : PluginState.ACTIVE,
            uploadedAt: timestampNow(),
            granted,
            ...(manifest && { manifest }),
            ...(signature && { signature }),
            ...(before?.manifest && { previous: { manifest: before.manifest, sha256: before.sha256 } }),
          });
    this.plugins.set(manifest?.name ?? "", plugin);
    for (const resolve of this.#uploaded.splice(0)) resolve();
    return { plugin };
  }

  #find(name: string): Plugin {
    const plugin = this.plugins.get(name);
    if (plugin === undefined) throw new ConnectError(`no plugin ${name}`, Code.NotFound);
    return plugin;
  }

  #set(name: string, state: PluginState): { plugin: Plugin } {
    const plugin = this.#find(name);
    plugin.state = state;
    return { plugin };
  }
}

function toVersion({ manifest, module, signature }: UploadPluginRequest): PluginVersion {
  return create(PluginVersionSchema, {
    sha256: "cd".repeat(32),
    sizeBytes: BigInt(module.length),
    uploadedAt: timestampNow(),
    ...(manifest && { manifest }),
    ...(signature && { signature }),
  });
}

function grantedOf(declared: PluginCapabilities | undefined, grants: readonly string[]): PluginCapabilities {
  const has = (name: string) => declared !== undefined && (grants.includes(name) || grants.includes("all"));
  return {
    $typeName: "millrace.plugins.v1.PluginCapabilities",
    http: has("http") ? (declared?.http ?? []) : [],
    kvBytes: has("kv") ? (declared?.kvBytes ?? 0n) : 0n,
    secrets: has("secrets") ? (declared?.secrets ?? []) : [],
    events: has("events") ? (declared?.events ?? []) : [],
    jobs: has("jobs") ? (declared?.jobs ?? []) : [],
  };
}
