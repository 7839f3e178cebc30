import type { Bus, KvEntry, KvWatch } from "@millrace/bus";
import { decodePluginRecord, PluginState, type Plugin } from "@millrace/protocol";
import type { JobHandler } from "./job-context.ts";

/** A plugin's module at one version, as executors load it. */
export interface PluginVersion {
  /** Names this load: another upload, or other limits, are another version. */
  readonly key: string;
  readonly plugin: Plugin;
  readonly module: Uint8Array;
}

/** What runs a type, or why nothing does. */
export type Route =
  | { readonly kind: "native"; readonly handler: JobHandler }
  | { readonly kind: "plugin"; readonly version: PluginVersion; readonly exportName: string }
  | { readonly kind: "wait"; readonly reason: string }
  | { readonly kind: "gone"; readonly reason: string };

export interface PluginCatalogOptions {
  readonly bus: Bus;
  readonly handlers: Readonly<Record<string, JobHandler>>;
  /** Without executors no plugin is fetched. */
  readonly runsPlugins: boolean;
  /** Routes have changed: jobs that waited may run. */
  onChange(): void;
  onTrouble(plugin: string, error: unknown): void;
}

const fetchRetryMs = 1000;

/**
 * Which type is run by what. Watches the plugin records; the table of routes is replaced as a whole, so a job sees the
 * old version or the new one, and a running call ends on the one it began with.
 */
export class PluginCatalog {
  readonly #options: PluginCatalogOptions;
  readonly #native = new Map<string, Route>();
  readonly #plugins = new Map<string, Plugin>();
  readonly #versions = new Map<string, PluginVersion>();
  readonly #broken = new Map<string, string>();
  #routes = new Map<string, Route>();

  constructor(options: PluginCatalogOptions) {
    this.#options = options;
    for (const [type, handler] of Object.entries(options.handlers)) this.#native.set(type, { kind: "native", handler });
    this.#rebuild();
  }

  route(type: string): Route {
    return this.#routes.get(type) ?? { kind: "wait", reason: `no handler for type "${type}"` };
  }

  get plugins(): readonly string[] {
    return [...this.#versions.values()].map(({ plugin }) => `${plugin.manifest?.name}@${plugin.manifest?.version}`);
  }

  /** Whether executors should keep this version. */
  isCurrent(version: PluginVersion): boolean {
    return this.#versions.get(version.plugin.manifest?.name ?? "") === version;
  }

  /** An executor could not load it: its types wait, and say why. */
  refuse(version: PluginVersion, reason: string): void {
    this.#broken.set(version.key, reason);
    this.#rebuild();
  }

  watch(onEntry: (key: string, entry: KvEntry | undefined) => void): KvWatch {
    return this.#options.bus.kv("plugins").watch({ onEntry });
  }

  /** Takes in a record. Its module is fetched first, so that a route is never without one. */
  async apply(name: string, entry: KvEntry | undefined): Promise<void> {
    let plugin: Plugin | undefined;
    try {
      plugin = entry === undefined ? undefined : decodePluginRecord(entry.value);
    } catch (error) {
      // A record that cannot be read must not take down the plugins that can.
      this.#options.onTrouble(name, error);
    }
    if (plugin === undefined) {
      this.#plugins.delete(name);
      this.#versions.delete(name);
    } else {
      this.#plugins.set(name, plugin);
      if (plugin.state === PluginState.ACTIVE && this.#options.runsPlugins)
        await this.#fetch(name, plugin, entry?.revision ?? 0);
      else this.#versions.delete(name);
    }
    this.#rebuild();
  }

  async #fetch(name: string, plugin: Plugin, revision: number): Promise<void> {
    const key = `${name}:${plugin.sha256}:${revision}`;
    if (this.#versions.get(name)?.key === key) return;
    const old = this.#versions.get(name);
    for (let tries = 1; ; tries++) {
      try {
        const module =
          old?.plugin.sha256 === plugin.sha256 ? old.module : await this.#options.bus.modules.get(plugin.sha256);
        this.#versions.set(name, { key, plugin, module });
        return;
      } catch (error) {
        this.#options.onTrouble(name, error);
        if (tries === 3) {
          this.#versions.delete(name);
          return;
        }
        await new Promise((resolve) => setTimeout(resolve, fetchRetryMs));
      }
    }
  }

  #rebuild(): void {
    const routes = new Map<string, Route>();
    // Least binding first: a later route replaces an earlier one.
    const rank = (plugin: Plugin): number =>
      plugin.state === PluginState.UNINSTALLED ? 0 : plugin.state === PluginState.ACTIVE ? 2 : 1;
    const plugins = [...this.#plugins].sort(([, a], [, b]) => rank(a) - rank(b) || uploaded(a) - uploaded(b));
    for (const [name, plugin] of plugins) {
      for (const { type, export: exportName } of plugin.manifest?.handlers ?? []) {
        routes.set(type, this.#routeOf(name, plugin, exportName));
      }
    }
    for (const [type, route] of this.#native) routes.set(type, route);
    this.#routes = routes;
    this.#options.onChange();
  }

  #routeOf(name: string, plugin: Plugin, exportName: string): Route {
    if (plugin.state === PluginState.UNINSTALLED) return { kind: "gone", reason: `plugin "${name}" was deleted` };
    if (plugin.state !== PluginState.ACTIVE) return { kind: "wait", reason: `plugin "${name}" is disabled` };
    if (!this.#options.runsPlugins)
      return { kind: "wait", reason: `this worker runs no plugins, and "${name}" serves the type` };
    const version = this.#versions.get(name);
    if (version === undefined) return { kind: "wait", reason: `the module of plugin "${name}" cannot be fetched` };
    const broken = this.#broken.get(version.key);
    if (broken !== undefined) return { kind: "wait", reason: `plugin "${name}" does not load: ${broken}` };
    return { kind: "plugin", version, exportName };
  }
}

function uploaded(plugin: Plugin): number {
  return Number(plugin.uploadedAt?.seconds ?? 0n);
}
