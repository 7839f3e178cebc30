import {
  capabilitiesOf,
  defaultLimits,
  hookExports,
  manifestExports,
  manifestLimits,
  type Capabilities,
  type LoadOptions,
  type PluginLimits,
  type PreparedModule,
} from "@millrace/plugin-host";
import type { PluginManifest, PluginVersion } from "@millrace/protocol";
import { PeakWork } from "./peak-work.ts";

/** A plugin's module at one version, as executors load it: with its limits and what it may do. */
export class RunnableVersion {
  /** Names it between worker and executors. Short: it goes with each call. */
  readonly key: string;
  readonly name: string;
  /** name@version, for people. */
  readonly label: string;
  readonly version: PluginVersion;
  readonly manifest: PluginManifest;
  readonly granted: Capabilities;
  readonly options: LoadOptions;
  readonly timeoutMs: number;
  readonly exports: ReadonlySet<string>;
  readonly #work = new Map<string, PeakWork>();
  /** Whether its calls want to know of their job: it costs each of them a few words. */
  usesContext = true;
  /** Whether its calls learn anything that is not in their input: only then there is something to record. */
  learns = true;
  #module: Uint8Array | PreparedModule;

  constructor(
    key: string,
    version: PluginVersion,
    manifest: PluginManifest,
    limits: Partial<PluginLimits>,
    module: Uint8Array | PreparedModule,
  ) {
    this.key = key;
    this.version = version;
    this.manifest = manifest;
    this.#module = module;
    this.module = module;
    this.name = manifest.name;
    this.label = `${manifest.name}@${manifest.version}`;
    this.granted = capabilitiesOf(version.granted);
    this.timeoutMs = limits.timeoutMs || defaultLimits.timeoutMs;
    this.exports = new Set([...manifestExports(manifest).map((item) => item.name), ...hookExports]);
    this.options = {
      name: manifest.name,
      version: manifest.version,
      limits,
      config: manifest.config,
      stateful: manifest.stateful,
      granted: this.granted,
    };
  }

  /** How much work the calls of one of its exports are. Exports differ: one may answer at once, its neighbour spin. */
  work(exportName: string): PeakWork {
    let work = this.#work.get(exportName);
    if (work === undefined) this.#work.set(exportName, (work = new PeakWork()));
    return work;
  }

  get module(): Uint8Array | PreparedModule {
    return this.#module;
  }

  /** As it was uploaded, until an executor has prepared it for all. */
  set module(module: Uint8Array | PreparedModule) {
    this.#module = module;
    if (module instanceof Uint8Array) return;
    const { imports } = module.report;
    this.usesContext = imports.some((item) => item.module === contextModule);
    this.learns = imports.some((item) => item.module.startsWith(hostModules) || learning.has(item.name));
  }
}

const hostModules = "millrace:host/";
const contextModule = `${hostModules}job`;
/** Functions of Extism and WASI whose answers differ from call to call. */
const learning: ReadonlySet<string> = new Set(
  "http_request clock_time_get clock_res_get random_get poll_oneoff".split(" "),
);

/** The limits of a manifest, as far as this worker grants them. */
export function boundedLimits(
  manifest: PluginManifest | undefined,
  { mostMemoryPages }: { readonly mostMemoryPages: number },
): Partial<PluginLimits> {
  const limits = manifestLimits(manifest?.limits);
  return { ...limits, memoryPages: Math.min(limits.memoryPages || defaultLimits.memoryPages, mostMemoryPages) };
}

/** What makes two loads of a module the same. */
export function versionFingerprint({ manifest, sha256, granted }: PluginVersion): string {
  const { limits, config, stateful, version } = manifest ?? {};
  const figures = (_name: string, value: unknown): unknown => (typeof value === "bigint" ? String(value) : value);
  return JSON.stringify([manifest?.name, version, sha256, limits, config, stateful, granted], figures);
}
