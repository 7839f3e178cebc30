import { BusError, type Bus, type KvBucket, type KvEntry } from "@millrace/bus";
import { MillraceError, PluginState, type Plugin } from "@millrace/protocol";
import { nameOf, type PluginRegistry } from "./plugin-registry.ts";

interface Claim {
  readonly plugin: string;
  /** Unix ms. */
  readonly atMs: number;
}

/** A claim without a record that serves the type is somebody's upload that is under way; older, it has failed. */
const uploadMs = 60_000;

/**
 * Gives each job type to one plugin. A claim is written before the record that serves the type, so that of two uploads at
 * the same instant, by whatever control, one is refused.
 */
export class TypeClaims {
  readonly #bucket: KvBucket;
  readonly #plugins: PluginRegistry;

  constructor(bus: Bus, plugins: PluginRegistry) {
    this.#bucket = bus.kv("pluginTypes");
    this.#plugins = plugins;
  }

  /** @throws MillraceError already_exists when another plugin serves one of them, or is about to */
  async claim(plugin: string, types: readonly string[]): Promise<void> {
    const others = (await this.#plugins.all()).filter((other) => nameOf(other) !== plugin);
    for (const type of types) {
      const server = others.find((other) => servedTypes(other).includes(type));
      if (server !== undefined) throw taken(type, `is served by plugin ${nameOf(server)}`);
      await this.#claimOne(plugin, type);
    }
  }

  /** Lets go of types that the plugin does not serve. */
  async release(plugin: string, types: readonly string[]): Promise<void> {
    for (const type of types) {
      const entry = await this.#bucket.get(type);
      if (entry === undefined || readClaim(entry)?.plugin !== plugin) continue;
      // Somebody who took it over meanwhile keeps it.
      await this.#bucket.delete(type, { revision: entry.revision }).catch(ignoreAborted);
    }
  }

  async #claimOne(plugin: string, type: string): Promise<void> {
    const mine: Claim = { plugin, atMs: Date.now() };
    const value = new TextEncoder().encode(JSON.stringify(mine));
    try {
      const entry = await this.#bucket.get(type);
      if (entry === undefined) {
        await this.#bucket.create(type, value);
        return;
      }
      const claim = readClaim(entry);
      const isFresh = claim !== undefined && mine.atMs - claim.atMs < uploadMs;
      if (isFresh && claim.plugin !== plugin) throw taken(type, `is being taken by plugin ${claim.plugin}`);
      await this.#bucket.update(type, value, entry.revision);
    } catch (error) {
      if (!(error instanceof BusError) || !["aborted", "already_exists"].includes(error.code)) throw error;
      throw taken(type, "is being taken by another plugin");
    }
  }
}

/** By the version that serves, or would, and the canary; a rollback claims its types again. */
export function servedTypes(plugin: Plugin): readonly string[] {
  if (plugin.state === PluginState.UNINSTALLED) return [];
  const versions = [plugin.manifest, plugin.canary?.version?.manifest];
  return [...new Set(versions.flatMap((manifest) => manifest?.handlers.map(({ type }) => type) ?? []))];
}

function readClaim(entry: KvEntry): Claim | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(entry.value)) as Claim;
  } catch {
    return undefined;
  }
}

function taken(type: string, reason: string): MillraceError {
  const words = `type ${type} ${reason}`;
  return new MillraceError("already_exists", words, { details: [{ field: "manifest.handlers", reason: words }] });
}

function ignoreAborted(error: unknown): void {
  if (!(error instanceof BusError) || error.code !== "aborted") throw error;
}
