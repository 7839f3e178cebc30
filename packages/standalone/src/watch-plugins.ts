import { watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { PluginState, type Plugin } from "@millrace/protocol";
import { deployPlugin, type DeployDeps } from "./deploy-plugins.ts";
import { hasManifest, listFolders } from "./plugin-folder.ts";

export interface WatchPluginsDeps extends DeployDeps {
  /** One line for the person who edits plugins. */
  readonly say: (line: string) => void;
}

/** Editors and compilers write in several steps. */
const debounceMs = 300;

/**
 * Uploads plugins of a folder of folders as their files change from here on, for development. An upload that is refused is told, and the
 * next change tried.
 */
export async function watchPlugins(dir: string, deps: WatchPluginsDeps): Promise<AsyncDisposable> {
  const watching = new PluginsWatch(dir, deps);
  await watching.lookAround({ deploys: false });
  return watching;
}

class PluginsWatch implements AsyncDisposable {
  readonly #dir: string;
  readonly #deps: WatchPluginsDeps;
  readonly #root: FSWatcher | undefined;
  readonly #folders = new Map<string, FSWatcher>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  /** One after the other: two versions of one plugin must not overtake each other. */
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(dir: string, deps: WatchPluginsDeps) {
    this.#dir = dir;
    this.#deps = deps;
    this.#root = this.#watch(dir, () => this.#soon(".", () => this.lookAround({ deploys: true })));
  }

  /** Begins to watch folders that have come. */
  async lookAround({ deploys }: { deploys: boolean }): Promise<void> {
    const folders = new Set(await listFolders(this.#dir));
    for (const [folder, watcher] of this.#folders) {
      if (folders.has(folder)) continue;
      watcher.close();
      this.#folders.delete(folder);
    }
    for (const folder of folders) {
      if (this.#folders.has(folder) || this.#isClosed) continue;
      const watcher = this.#watch(join(this.#dir, folder), () => this.#soon(folder, () => this.#deploy(folder)));
      if (watcher === undefined) continue;
      this.#folders.set(folder, watcher);
      if (deploys) this.#soon(folder, () => this.#deploy(folder));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#root?.close();
    for (const watcher of this.#folders.values()) watcher.close();
    await this.#turn;
  }

  #watch(path: string, onChange: () => void): FSWatcher | undefined {
    try {
      const watcher = watch(path, { persistent: false }, onChange);
      watcher.on("error", (error) =>
        this.#deps.logger.warn({ path, err: error }, "plugin folder is not watched any more"),
      );
      return watcher;
    } catch (error) {
      this.#deps.logger.warn({ path, err: error }, "plugin folder cannot be watched");
      return undefined;
    }
  }

  #soon(key: string, work: () => Promise<void>): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timers.get(key));
    const begin = (): void => {
      this.#timers.delete(key);
      this.#turn = this.#turn.then(() => (this.#isClosed ? undefined : work()));
    };
    this.#timers.set(key, setTimeout(begin, debounceMs));
  }

  async #deploy(folder: string): Promise<void> {
    const { say, logger } = this.#deps;
    // Not yet, or not a plugin's.
    if (!(await hasManifest(this.#dir, folder))) return;
    try {
      const { plugin, isUploaded } = await deployPlugin(this.#dir, folder, this.#deps);
      if (isUploaded) say(describe(plugin));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      logger.warn({ folder, err: error }, "plugin not deployed");
      say(`Plugin ${folder} not deployed: ${reason}`);
    }
  }
}

function describe({ manifest, granted, state, stateReason }: Plugin): string {
  const name = `Plugin ${manifest?.name} ${manifest?.version}`;
  const grants = Object.entries({
    http: granted?.http.length,
    kv: granted?.kvBytes,
    secrets: granted?.secrets.length,
    events: granted?.events.length,
    jobs: granted?.jobs.length,
  }).flatMap(([grant, amount]) => (amount ? [grant] : []));
  const words = grants.length === 0 ? "" : ` (granted: ${grants.join(", ")})`;
  if (state === PluginState.ACTIVE) return `${name} serves${words}`;
  return `${name} uploaded${words}, does not serve: ${stateReason || "it is disabled"}`;
}
