import { BusError, type Bus, type KvBucket, type KvEntry } from "@millrace/bus";
import { decodePluginRecord, encodePluginRecord, MillraceError, PluginState, type Plugin } from "@millrace/protocol";

/** One record with the revision to change it by. */
export interface RegisteredPlugin {
  readonly plugin: Plugin;
  readonly revision: number;
}

/** Others may change the same record at the same time; beyond this somebody changes it all the time. */
const mostTries = 8;

/**
 * The records that say which plugins there are; workers follow the same bucket. A deleted plugin leaves a record, so that
 * jobs of its types end as dead letters with the reason.
 */
export class PluginRegistry {
  readonly #bus: Bus;
  readonly #bucket: KvBucket;

  constructor(bus: Bus) {
    this.#bus = bus;
    this.#bucket = bus.kv("plugins");
  }

  /** Tombstones included. */
  async find(name: string): Promise<RegisteredPlugin | undefined> {
    const entry = await this.#bucket.get(name);
    return entry === undefined ? undefined : { plugin: decodePluginRecord(entry.value), revision: entry.revision };
  }

  /** @throws MillraceError not_found, also for a deleted one */
  async get(name: string): Promise<RegisteredPlugin> {
    const found = isPluginName(name) ? await this.find(name) : undefined;
    if (found === undefined || found.plugin.state === PluginState.UNINSTALLED) {
      throw new MillraceError("not_found", `no plugin ${JSON.stringify(name)}`);
    }
    return found;
  }

  /** By name; tombstones included. */
  async all(): Promise<Plugin[]> {
    const plugins: Plugin[] = [];
    for (const entry of await this.#bucket.entries()) {
      try {
        plugins.push(decodePluginRecord(entry.value));
      } catch (error) {
        this.#bus.logger.warn({ plugin: entry.key, err: error }, "plugin record does not parse");
      }
    }
    return plugins.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  }

  /**
   * Changes one record, and begins again when somebody else was faster. `make` answers with the same object when there is
   * nothing to change.
   * @throws MillraceError not_found, aborted, and what `make` throws
   */
  async change(name: string, make: (plugin: Plugin) => Plugin | Promise<Plugin>): Promise<Plugin> {
    for (let tries = 1; ; tries++) {
      const { plugin, revision } = await this.get(name);
      const changed = await make(plugin);
      if (changed === plugin) return plugin;
      try {
        await this.write(changed, revision);
        return changed;
      } catch (error) {
        if (!(error instanceof MillraceError) || error.code !== "aborted" || tries === mostTries) throw error;
      }
    }
  }

  /** @throws MillraceError aborted when somebody else changed it meanwhile */
  async write(plugin: Plugin, revision: number | undefined): Promise<void> {
    const value = encodePluginRecord(plugin);
    try {
      if (revision === undefined) await this.#bucket.create(nameOf(plugin), value);
      else await this.#bucket.update(nameOf(plugin), value, revision);
    } catch (error) {
      if (error instanceof BusError && (error.code === "aborted" || error.code === "already_exists")) {
        throw new MillraceError("aborted", `plugin ${nameOf(plugin)} was changed by somebody else`, { cause: error });
      }
      throw error;
    }
  }
}

/** For who watches the records. @returns undefined when there is none, or none that parses: `all` warns of those */
export function readRecord(entry: KvEntry | undefined): Plugin | undefined {
  try {
    return entry === undefined ? undefined : decodePluginRecord(entry.value);
  } catch {
    return undefined;
  }
}

export function nameOf(plugin: Plugin): string {
  return plugin.manifest?.name ?? "";
}

/** As the contract has it; other names are not even looked up. */
function isPluginName(name: string): boolean {
  return /^[a-z0-9][a-z0-9_-]{0,63}$/.test(name);
}
