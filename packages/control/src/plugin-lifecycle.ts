import { setTimeout as pause } from "node:timers/promises";
import type { Bus, KvEntry, KvWatch } from "@millrace/bus";
import { backoffDelayMs, MillraceError, type BackoffPolicy, type Plugin } from "@millrace/protocol";
import { afterHook, moved, nextStep } from "./advance-plugin.ts";
import type { ControlEvents } from "./events.ts";
import type { Hook, HookEnd, HookRunner } from "./hook-runner.ts";
import type { PluginKeys } from "./plugin-keys.ts";
import { readRecord, type PluginRegistry } from "./plugin-registry.ts";
import { isSameVersion, servingVersion } from "./plugin-versions.ts";

export interface PluginLifecycleOptions {
  readonly bus: Bus;
  readonly plugins: PluginRegistry;
  readonly hooks: HookRunner;
  readonly keys: PluginKeys;
  readonly events: ControlEvents;
  /** A caller waits so long for a worker that runs a hook, in ms; then it is tried in the background. */
  readonly workerPatienceMs: number;
  /** A plugin that nobody has moved for so long, in ms, was left by a control that ended. */
  readonly takeOverMs: number;
}

const retry: BackoffPolicy = { kind: "exponential", baseMs: 250, maxMs: 5000, jitter: 0.2 };
/** Some two hours; then somebody enables the plugin again, or control starts anew. */
const mostRetries = 1500;

interface Appointment {
  readonly timer: NodeJS.Timeout;
  /** We know that the plugin waits for a worker; else somebody has it in hand, or had. */
  readonly ours: boolean;
}

/**
 * Brings plugins from where they are to where they are meant to be, hook by hook. Each step is one change of the record, so
 * a control that ends on the way is followed by another.
 */
export class PluginLifecycle implements AsyncDisposable {
  readonly #options: PluginLifecycleOptions;
  readonly #watch: KvWatch;
  /** One after the other for each plugin. */
  readonly #turns = new Map<string, Promise<unknown>>();
  readonly #appointments = new Map<string, Appointment>();
  readonly #background = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(options: PluginLifecycleOptions) {
    this.#options = options;
    this.#watch = options.bus.kv("plugins").watch({ onEntry: (name, entry) => this.#onRecord(name, entry) });
  }

  /**
   * Goes on until the plugin is where it is meant to be, or a hook failed, or no worker came in time; the record says which.
   * @throws MillraceError not_found, unavailable
   */
  async settle(name: string): Promise<Plugin> {
    const untilMs = performance.now() + this.#options.workerPatienceMs;
    for (let tries = 1; ; tries++) {
      const { plugin, waits } = await this.#inTurn(name, () => this.#advance(name));
      if (!waits) return plugin;
      const delayMs = backoffDelayMs(retry, tries, Math.random());
      if (performance.now() + delayMs > untilMs) {
        if (plugin.enabled) this.#appoint(name, delayMs, tries);
        return plugin;
      }
      await pause(delayMs, undefined, { signal: this.#stopping.signal });
    }
  }

  /** Runs a hook of a version that goes: how it ends changes nothing. */
  async runOut(plugin: Plugin, hook: Hook): Promise<void> {
    const end = await this.#runHook(plugin, hook);
    if (end.kind === "failed") this.#options.events.hookFailed(plugin, end.reason);
  }

  /** As far as it goes without running anything. */
  async prepare(plugin: Plugin): Promise<Plugin> {
    for (let now = plugin; ;) {
      const step = nextStep(now);
      if (step.kind === "settled") return now;
      if (step.kind === "move") {
        now = step.plugin;
        continue;
      }
      const { hook } = step;
      const refusal = hook === "on_disable" ? undefined : await this.#options.keys.refuse(servingVersion(now));
      if (refusal !== undefined) now = { ...moved(now, "refused", refusal), enabled: false };
      else if (await this.#options.hooks.has(servingVersion(now), hook)) return now;
      else now = afterHook(now, hook, { kind: "done" });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new MillraceError("unavailable", "control stops"));
    for (const { timer } of this.#appointments.values()) clearTimeout(timer);
    this.#appointments.clear();
    await this.#watch[Symbol.asyncDispose]();
    await Promise.allSettled([...this.#background, ...this.#turns.values()]);
  }

  async #advance(name: string): Promise<{ plugin: Plugin; waits: boolean }> {
    const { plugins, events } = this.#options;
    for (;;) {
      this.#stopping.signal.throwIfAborted();
      const plugin = await plugins.change(name, (found) => this.prepare(found));
      const step = nextStep(plugin);
      if (step.kind !== "hook") return { plugin, waits: false };
      const { hook } = step;
      const end = await this.#runHook(plugin, hook);
      if (end.kind === "failed") events.hookFailed(plugin, end.reason);
      let isOurs = false;
      const after = await plugins.change(name, (found) => {
        // Somebody may have given it another version or another aim meanwhile.
        isOurs = found.state === plugin.state && isSameVersion(servingVersion(found), servingVersion(plugin));
        return isOurs ? this.prepare(afterHook(found, hook, end)) : found;
      });
      if (isOurs) events.pluginChanged(after);
      if (isOurs && end.kind === "no worker" && hook !== "on_disable") return { plugin: after, waits: true };
    }
  }

  #runHook(plugin: Plugin, hook: Hook): Promise<HookEnd> {
    const { signal } = this.#stopping;
    const { promise: stopped, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const run = this.#options.hooks.run(servingVersion(plugin), hook);
    return Promise.race([run, stopped]).finally(() => signal.removeEventListener("abort", onAbort));
  }

  #inTurn<T>(name: string, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(name) ?? Promise.resolve();
    const turn = before.then(work, work);
    this.#turns.set(name, turn);
    const forget = (): void => {
      if (this.#turns.get(name) === turn) this.#turns.delete(name);
    };
    turn.then(forget, forget);
    return turn;
  }

  #onRecord(name: string, entry: KvEntry | undefined): void {
    const plugin = readRecord(entry);
    const known = this.#appointments.get(name);
    if (plugin === undefined || nextStep(plugin).kind === "settled") {
      clearTimeout(known?.timer);
      this.#appointments.delete(name);
    } else if (known?.ours !== true) {
      this.#appoint(name, this.#options.takeOverMs, 0);
    }
  }

  /** @param tries that have found no worker; 0: to look whether somebody else still moves it */
  #appoint(name: string, delayMs: number, tries: number): void {
    if (this.#stopping.signal.aborted || tries > mostRetries) return;
    clearTimeout(this.#appointments.get(name)?.timer);
    const timer = setTimeout(() => {
      this.#appointments.delete(name);
      const work = this.#resume(name, tries);
      this.#background.add(work);
      void work.finally(() => this.#background.delete(work));
    }, delayMs);
    this.#appointments.set(name, { timer, ours: tries > 0 });
  }

  async #resume(name: string, tries: number): Promise<void> {
    try {
      const { waits, plugin } = await this.#inTurn(name, () => this.#advance(name));
      if (waits && plugin.enabled) this.#appoint(name, backoffDelayMs(retry, tries + 1, Math.random()), tries + 1);
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      if (error instanceof MillraceError && error.code === "not_found") return;
      this.#options.events.lifecycleInterrupted(name, error);
      this.#appoint(name, retry.maxMs, tries + 1);
    }
  }
}
