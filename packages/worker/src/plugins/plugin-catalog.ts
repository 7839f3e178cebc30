import type { Bus, KvEntry, KvWatch } from "@millrace/bus";
import { create } from "@bufbuild/protobuf";
import {
  decodePluginRecord,
  isOwnQueue,
  PluginState,
  PluginVersionSchema,
  type Plugin,
  type PluginVersion,
} from "@millrace/protocol";
import type { JobHandler } from "../job-context.ts";
import { canaryShare } from "./canary-share.ts";
import type { RunnableVersion } from "./runnable-version.ts";
import type { TrustedKeys } from "./trusted-keys.ts";
import { VersionShelf, type RefusedVersion, type ShelvedVersion } from "./version-shelf.ts";

/** What runs a job, or why nothing does. */
export type Route =
  | { readonly kind: "native"; readonly handler: JobHandler }
  | PluginRoute
  | { readonly kind: "wait"; readonly reason: string }
  | { readonly kind: "gone"; readonly reason: string };

interface PluginRoute {
  readonly kind: "plugin";
  readonly version: RunnableVersion;
  readonly exportName: string;
  readonly canary?: { readonly percent: number; readonly route: PluginRoute };
}

/** Of a job: what decides who runs it. */
export interface Routed {
  readonly id: string;
  readonly type: string;
  readonly queue: string;
  readonly options: { readonly tags: readonly string[] };
}

export interface PluginCatalogOptions {
  readonly bus: Bus;
  readonly handlers: Readonly<Record<string, JobHandler>>;
  /** Without executors no plugin is fetched. */
  readonly runsPlugins: boolean;
  readonly keys: TrustedKeys;
  /** See VersionShelfOptions. */
  readonly mostMemoryPages: number;
  /** See VersionShelfOptions. */
  prepare(version: RunnableVersion): Promise<RefusedVersion | undefined>;
  /** Routes have changed: jobs that waited may run. */
  onChange(): void;
  onTrouble(plugin: string, error: unknown): void;
}

/** A plugin as this worker has it. */
interface Entry {
  readonly plugin: Plugin;
  serving: ShelvedVersion | undefined;
  canary: RunnableVersion | undefined;
}

const exportTag = "export:";

/**
 * Which job is run by what. Watches the plugin records; the table of routes is replaced as a whole, when the new version is
 * ready to run: a job sees the old version or the new one, and a running call ends on the one it began with.
 */
export class PluginCatalog {
  readonly #options: PluginCatalogOptions;
  readonly #shelf: VersionShelf;
  readonly #native = new Map<string, Route>();
  readonly #entries = new Map<string, Entry>();
  readonly #broken = new WeakMap<RunnableVersion, string>();
  #inUse: ReadonlySet<RunnableVersion> = new Set();
  #routes = new Map<string, Route>();

  constructor(options: PluginCatalogOptions) {
    this.#options = options;
    this.#shelf = new VersionShelf(options);
    for (const [type, handler] of Object.entries(options.handlers)) this.#native.set(type, { kind: "native", handler });
    this.#rebuild();
  }

  route(job: Routed): Route {
    if (isOwnQueue(job.queue)) return this.#routeByName(job);
    const route = this.#routes.get(job.type);
    if (route === undefined) return { kind: "wait", reason: `no handler for type "${job.type}"` };
    return route.kind === "plugin" ? choose(route, job.id) : route;
  }

  get plugins(): readonly string[] {
    return [...this.#inUse].filter((version) => !this.#broken.has(version)).map(({ label }) => label);
  }

  /** Whether executors should keep this version. */
  isCurrent(version: RunnableVersion): boolean {
    return this.#inUse.has(version);
  }

  /** It cannot run, or may not: its types wait, and say why. */
  refuse(version: RunnableVersion, reason: string): void {
    this.#broken.set(version, reason);
    this.#rebuild();
  }

  watch(onEntry: (key: string, entry: KvEntry | undefined) => void): KvWatch {
    return this.#options.bus.kv("plugins").watch({ onEntry });
  }

  /** Takes in a record. Its modules are made ready first, so that a route is never without one. */
  async apply(name: string, entry: KvEntry | undefined): Promise<void> {
    let plugin: Plugin | undefined;
    try {
      plugin = entry === undefined ? undefined : decodePluginRecord(entry.value);
    } catch (error) {
      // A record that cannot be read must not take down the plugins that can.
      this.#options.onTrouble(name, error);
    }
    if (plugin === undefined) this.#entries.delete(name);
    else this.#entries.set(name, await this.#makeReady(plugin));
    this.#rebuild();
  }

  /** Takes out of service what is not trusted any more; at once, whatever is being made ready meanwhile. */
  async distrust(): Promise<void> {
    for (const version of this.#inUse) {
      const refused = await this.#options.keys.refuse(version.version);
      if (refused !== undefined) this.refuse(version, refused);
    }
  }

  /** Looks at every signature again: the keys have changed, or time has passed. */
  async verify(): Promise<void> {
    for (const [name, { plugin, serving }] of this.#entries) {
      const isLost = serving !== undefined && "refused" in serving && !serving.mayPass;
      if (!isLost) this.#entries.set(name, await this.#makeReady(plugin));
    }
    this.#rebuild();
  }

  /** A version to be called by name: the given one, whatever serves, or the one that serves. */
  async find(name: string, version: PluginVersion | undefined): Promise<ShelvedVersion> {
    if (version !== undefined) return this.#admit(version);
    const entry = this.#entries.get(name);
    if (entry === undefined) return { refused: `there is no plugin "${name}"`, mayPass: true };
    const route = this.#serve(name, entry);
    return route.kind === "plugin" ? route.version : { refused: route.reason, mayPass: true };
  }

  async #makeReady(plugin: Plugin): Promise<Entry> {
    if (plugin.state !== PluginState.ACTIVE || !this.#options.runsPlugins)
      return { plugin, serving: undefined, canary: undefined };
    const serving = await this.#admit(servingVersion(plugin));
    const canary = plugin.canary?.version === undefined ? undefined : await this.#admit(plugin.canary.version);
    if (canary === undefined || !("refused" in canary)) return { plugin, serving, canary };
    // Its share goes to the version that serves.
    this.#options.onTrouble(plugin.manifest?.name ?? "", new Error(`canary: ${canary.refused}`));
    return { plugin, serving, canary: undefined };
  }

  async #admit(version: PluginVersion): Promise<ShelvedVersion> {
    const refused = await this.#options.keys.refuse(version);
    if (refused !== undefined) return { refused, mayPass: true };
    const taken = await this.#shelf.take(version, (other) => this.#inUse.has(other));
    // What an executor or a key had against it may be over.
    if (!("refused" in taken)) this.#broken.delete(taken);
    return taken;
  }

  #rebuild(): void {
    const routes = new Map<string, Route>();
    const inUse = new Set<RunnableVersion>();
    // Least binding first: a later route replaces an earlier one.
    const rank = ({ plugin }: Entry): number =>
      plugin.state === PluginState.UNINSTALLED ? 0 : plugin.state === PluginState.ACTIVE ? 2 : 1;
    const entries = [...this.#entries].sort(([, a], [, b]) => rank(a) - rank(b) || uploaded(a) - uploaded(b));
    for (const [name, entry] of entries) {
      const { serving, canary, plugin } = entry;
      if (serving !== undefined && !("refused" in serving)) inUse.add(serving);
      if (canary !== undefined) inUse.add(canary);
      const served = this.#serve(name, entry);
      for (const { type, export: exportName } of plugin.manifest?.handlers ?? []) {
        routes.set(type, served.kind === "plugin" ? this.#withCanary({ ...served, exportName }, entry, type) : served);
      }
    }
    for (const [type, route] of this.#native) routes.set(type, route);
    this.#inUse = inUse;
    this.#routes = routes;
    this.#options.onChange();
  }

  #withCanary(route: PluginRoute, { plugin, canary }: Entry, type: string): PluginRoute {
    const exportName = canary?.manifest.handlers.find((handler) => handler.type === type)?.export;
    if (canary === undefined || exportName === undefined || this.#broken.has(canary)) return route;
    const percent = plugin.canary?.percent ?? 0;
    return { ...route, canary: { percent, route: { kind: "plugin", version: canary, exportName } } };
  }

  /** Jobs that carry an event or a scheduled task to a plugin: it is named by the type, its export by a tag. */
  #routeByName({ id, type: name, options }: Routed): Route {
    const entry = this.#entries.get(name);
    if (entry === undefined) return { kind: "wait", reason: `there is no plugin "${name}"` };
    const served = this.#serve(name, entry);
    if (served.kind !== "plugin") return served;
    const exportName = options.tags.find((tag) => tag.startsWith(exportTag))?.slice(exportTag.length) ?? "";
    const { canary, plugin } = entry;
    const takesCanary = canary !== undefined && !this.#broken.has(canary) && hears(canary, exportName);
    const version = takesCanary && canaryShare(id) < (plugin.canary?.percent ?? 0) ? canary : served.version;
    if (hears(version, exportName)) return { kind: "plugin", version, exportName };
    return {
      kind: "gone",
      reason: `plugin "${name}" declares no event handler or schedule with export "${exportName}"`,
    };
  }

  #serve(name: string, { plugin, serving }: Entry): Exclude<Route, { kind: "native" }> {
    if (plugin.state === PluginState.UNINSTALLED) return { kind: "gone", reason: `plugin "${name}" was deleted` };
    if (plugin.state !== PluginState.ACTIVE) return { kind: "wait", reason: waitReason(name, plugin) };
    if (serving === undefined)
      return { kind: "wait", reason: `this worker runs no plugins, and "${name}" serves the type` };
    const wait = (why: string) => ({ kind: "wait", reason: `plugin "${name}" does not run: ${why}` }) as const;
    if ("refused" in serving) return wait(serving.refused);
    const broken = this.#broken.get(serving);
    return broken === undefined ? { kind: "plugin", version: serving, exportName: "" } : wait(broken);
  }
}

function choose(route: PluginRoute, jobId: string): PluginRoute {
  const { canary } = route;
  return canary !== undefined && canaryShare(jobId) < canary.percent ? canary.route : route;
}

function hears({ manifest }: RunnableVersion, exportName: string): boolean {
  return [...manifest.events, ...manifest.schedules].some((item) => item.export === exportName);
}

function servingVersion(plugin: Plugin): PluginVersion {
  const { manifest, sha256, sizeBytes, uploadedAt, signature, granted } = plugin;
  return create(PluginVersionSchema, {
    sha256,
    sizeBytes,
    ...(manifest === undefined ? {} : { manifest }),
    ...(uploadedAt === undefined ? {} : { uploadedAt }),
    ...(signature === undefined ? {} : { signature }),
    ...(granted === undefined ? {} : { granted }),
  });
}

function waitReason(name: string, { state, stateReason }: Plugin): string {
  const why = stateReason === "" ? "" : `: ${stateReason}`;
  if (state === PluginState.STARTING) return `plugin "${name}" is starting`;
  return state === PluginState.INSTALLED
    ? `plugin "${name}" is not fit to run${why}`
    : `plugin "${name}" is disabled${why}`;
}

function uploaded({ plugin }: Entry): number {
  return Number(plugin.uploadedAt?.seconds ?? 0n);
}
