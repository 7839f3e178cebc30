import { MillraceError, type PluginVersion } from "@millrace/protocol";
import type { Bus } from "@millrace/bus";
import { invokePlugin } from "./invoke-plugin.ts";
import type { ModuleInspector } from "./module-inspector.ts";

/** Exports that are called at the turns of a plugin's life, where its module has them. */
export type Hook = "on_install" | "on_enable" | "on_disable" | "on_uninstall";

/** How a hook ended. */
export type HookEnd =
  /** It went well, or there is none. */
  | { readonly kind: "done" }
  | { readonly kind: "failed"; readonly reason: string }
  /** No worker runs plugins at the moment. */
  | { readonly kind: "no worker" };

const mostKnownModules = 500;
/** A worker that has just heard of the version fetches and compiles it first. */
const loadMs = 10_000;

/** Runs hooks of the lifecycle on whichever worker there is. A hook may run more than once: after a crash, or by two controls. */
export class HookRunner {
  readonly #bus: Bus;
  readonly #inspector: ModuleInspector;
  readonly #timeoutMs: number;
  /** Exports by the module's hash. */
  readonly #exports = new Map<string, readonly string[]>();

  constructor(bus: Bus, inspector: ModuleInspector, timeoutMs: number) {
    this.#bus = bus;
    this.#inspector = inspector;
    this.#timeoutMs = timeoutMs;
  }

  async has({ sha256 }: PluginVersion, hook: Hook): Promise<boolean> {
    return (await this.#exportsOf(sha256)).includes(hook);
  }

  /** Without the hook no worker is needed. */
  async run(version: PluginVersion, hook: Hook): Promise<HookEnd> {
    const { manifest } = version;
    if (manifest === undefined || !(await this.has(version, hook))) return { kind: "done" };
    const input = new TextEncoder().encode(JSON.stringify({ name: manifest.name, version: manifest.version }));
    const timeoutMs = this.#timeoutMs;
    try {
      const { error } = await invokePlugin(
        this.#bus,
        { name: manifest.name, export: hook, input, timeoutMs, version },
        { waitMs: timeoutMs + loadMs },
      );
      if (error === undefined) return { kind: "done" };
      return { kind: "failed", reason: `${hook} failed: ${error.code}: ${error.message}` };
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      if (error.code === "unavailable") return { kind: "no worker" };
      return { kind: "failed", reason: `${hook} failed: ${error.message}` };
    }
  }

  async #exportsOf(sha256: string): Promise<readonly string[]> {
    const known = this.#exports.get(sha256);
    if (known !== undefined) return known;
    const { exports } = await this.#inspector.inspect(await this.#bus.modules.get(sha256));
    const [oldest] = this.#exports.keys();
    if (this.#exports.size >= mostKnownModules && oldest !== undefined) this.#exports.delete(oldest);
    this.#exports.set(sha256, exports);
    return exports;
  }
}
