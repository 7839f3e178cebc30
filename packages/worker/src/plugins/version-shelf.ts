import type { Bus } from "@millrace/bus";
import type { PluginVersion } from "@millrace/protocol";
import { boundedLimits, RunnableVersion, versionFingerprint } from "./runnable-version.ts";

const fetchTries = 3;
const fetchRetryMs = 250;
/** Versions that only hooks and dry runs ask for: they come in turns, around a push. */
const mostKept = 16;

export interface VersionShelfOptions {
  readonly bus: Bus;
  /** That any plugin gets, whatever its manifest asks for. */
  readonly mostMemoryPages: number;
  /** Has an executor rewrite the module, once for all. @returns why it cannot run, when it cannot */
  prepare(version: RunnableVersion): Promise<RefusedVersion | undefined>;
  onTrouble(plugin: string, error: unknown): void;
}

/** A version that is ready, or why it is not. */
export type ShelvedVersion = RunnableVersion | RefusedVersion;

export interface RefusedVersion {
  readonly refused: string;
  /** A later look may find otherwise: a key is trusted again, a module has arrived. */
  readonly mayPass: boolean;
}

/** Modules that were fetched and prepared: each once, whatever its part is meanwhile. */
export class VersionShelf {
  readonly #options: VersionShelfOptions;
  readonly #versions = new Map<string, RunnableVersion>();
  #nextKey = 1;

  constructor(options: VersionShelfOptions) {
    this.#options = options;
  }

  /** @param isInUse versions that are not to be thrown away for this one */
  async take(version: PluginVersion, isInUse: (version: RunnableVersion) => boolean): Promise<ShelvedVersion> {
    const { manifest } = version;
    if (manifest === undefined) return { refused: "it has no manifest", mayPass: false };
    const fingerprint = versionFingerprint(version);
    const found = this.#versions.get(fingerprint);
    if (found !== undefined) return found;
    const like = this.#findLike(version);
    const module = like?.module ?? (await this.#fetch(manifest.name, version.sha256));
    if (module === undefined) return { refused: "its module cannot be fetched", mayPass: true };
    const limits = boundedLimits(manifest, this.#options);
    const made = new RunnableVersion(`v${this.#nextKey++}`, version, manifest, limits, module);
    const refused = like === undefined ? await this.#options.prepare(made) : undefined;
    if (refused !== undefined) return refused;
    this.#versions.set(fingerprint, made);
    this.#sweep(isInUse, made);
    return made;
  }

  /** The same module under the same limits, of which only the grants or words are others: it is prepared already. */
  #findLike({ sha256, manifest }: PluginVersion): RunnableVersion | undefined {
    const limits = JSON.stringify(boundedLimits(manifest, this.#options));
    for (const other of this.#versions.values()) {
      if (other.version.sha256 === sha256 && JSON.stringify(other.options.limits) === limits) return other;
    }
    return undefined;
  }

  async #fetch(name: string, sha256: string): Promise<Uint8Array | undefined> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#options.bus.modules.get(sha256);
      } catch (error) {
        this.#options.onTrouble(name, error);
        if (tries === fetchTries) return undefined;
        await new Promise((resolve) => setTimeout(resolve, fetchRetryMs));
      }
    }
  }

  #sweep(isInUse: (version: RunnableVersion) => boolean, newest: RunnableVersion): void {
    for (const [fingerprint, version] of this.#versions) {
      if (this.#versions.size <= mostKept) return;
      if (version !== newest && !isInUse(version)) this.#versions.delete(fingerprint);
    }
  }
}
