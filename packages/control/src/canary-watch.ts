import { fromBinary } from "@bufbuild/protobuf";
import type { Bus, KvEntry, KvWatch } from "@millrace/bus";
import {
  PluginStatsSchema,
  pluginStatsSubject,
  type Plugin,
  type PluginCanary,
  type PluginStats,
  type PluginVersion,
} from "@millrace/protocol";
import type { ControlEvents } from "./events.ts";
import { judgeCanary } from "./judge-canary.ts";
import { readRecord, type PluginRegistry } from "./plugin-registry.ts";
import { servingVersion, withoutCanary } from "./plugin-versions.ts";

export interface CanaryWatchOptions {
  readonly bus: Bus;
  readonly plugins: PluginRegistry;
  readonly events: ControlEvents;
  /** A canary was taken back. */
  onTakenBack(plugin: Plugin): Promise<void>;
}

/** Workers tell of a plugin's versions one after the other, every 250 ms: only with both figures is there a comparison. */
const judgeAfterMs = 300;

interface Trial {
  readonly canary: PluginCanary;
  /** Tells one trial from the next. */
  readonly key: string;
  readonly serving: PluginVersion;
  readonly tallies: { canary: Counts; serving: Counts };
  /** Runs, or is being taken back: no other judgement meanwhile. */
  judging: NodeJS.Timeout | undefined;
}

interface Counts {
  calls: number;
  failures: number;
  fuel: number;
}

/**
 * Counts how canaries do beside the versions that serve, and takes back those that do worse than their bounds. Each control
 * counts by itself, from the start of the canary or its own; the record's revision decides who takes it back.
 */
export class CanaryWatch implements AsyncDisposable {
  readonly #options: CanaryWatchOptions;
  readonly #trials = new Map<string, Trial>();
  readonly #records: KvWatch;
  readonly #stats: Disposable;
  readonly #work = new Set<Promise<void>>();

  constructor(options: CanaryWatchOptions) {
    this.#options = options;
    const { bus } = options;
    this.#stats = bus.subscribe(pluginStatsSubject("*"), {}, (message) => this.#onStats(message.data));
    this.#records = bus.kv("plugins").watch({ onEntry: (name, entry) => this.#onRecord(name, entry) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stats[Symbol.dispose]();
    for (const { judging } of this.#trials.values()) clearTimeout(judging);
    await this.#records[Symbol.asyncDispose]();
    await Promise.allSettled(this.#work);
  }

  #onRecord(name: string, entry: KvEntry | undefined): void {
    const plugin = readRecord(entry);
    const { canary } = plugin ?? {};
    const known = this.#trials.get(name);
    if (plugin === undefined || canary === undefined) {
      clearTimeout(known?.judging);
      this.#trials.delete(name);
      return;
    }
    const serving = servingVersion(plugin);
    const key = `${serving.sha256} ${trialKey(canary)}`;
    if (known?.key === key) return;
    clearTimeout(known?.judging);
    const none = (): Counts => ({ calls: 0, failures: 0, fuel: 0 });
    this.#trials.set(name, {
      canary,
      key,
      serving,
      tallies: { canary: none(), serving: none() },
      judging: undefined,
    });
  }

  #onStats(data: Uint8Array): void {
    if (this.#trials.size === 0) return;
    const stats = readStats(data);
    const trial = stats === undefined ? undefined : this.#trials.get(stats.name);
    if (stats === undefined || trial === undefined) return;
    const { canary, serving, tallies } = trial;
    if (isOf(stats, canary.version)) add(tallies.canary, stats);
    else if (isOf(stats, serving)) add(tallies.serving, stats);
    else return;
    trial.judging ??= setTimeout(() => this.#judge(stats.name, trial), judgeAfterMs);
  }

  #judge(name: string, trial: Trial): void {
    const { canary, tallies } = trial;
    const reason = judgeCanary(tallies.canary, tallies.serving, canary.bounds);
    if (reason === undefined) {
      trial.judging = undefined;
      return;
    }
    const work = this.#takeBack(name, trial, reason);
    this.#work.add(work);
    void work.finally(() => this.#work.delete(work));
  }

  async #takeBack(name: string, trial: Trial, reason: string): Promise<void> {
    const { plugins, events, onTakenBack } = this.#options;
    const key = trialKey(trial.canary);
    const words = `canary ${trial.canary.version?.manifest?.version ?? ""} was taken back: ${reason}`;
    try {
      let isOurs = false;
      const plugin = await plugins.change(name, (found) => {
        isOurs = found.canary !== undefined && trialKey(found.canary) === key;
        return isOurs ? { ...withoutCanary(found), stateReason: words } : found;
      });
      if (!isOurs) return;
      events.canaryTakenBack(plugin, words);
      await onTakenBack(plugin);
    } catch (error) {
      // The next figures try it again.
      trial.judging = undefined;
      events.lifecycleInterrupted(name, error);
    }
  }
}

function trialKey(canary: PluginCanary): string {
  const { version, startedAt } = canary;
  return `${version?.sha256} ${version?.manifest?.version} ${startedAt?.seconds}.${startedAt?.nanos}`;
}

function isOf(stats: PluginStats, version: PluginVersion | undefined): boolean {
  return stats.sha256 === version?.sha256 && stats.version === version.manifest?.version;
}

function add(counts: Counts, { calls, failures, fuel }: PluginStats): void {
  counts.calls += Number(calls);
  counts.failures += Number(failures);
  counts.fuel += Number(fuel);
}

function readStats(data: Uint8Array): PluginStats | undefined {
  try {
    return fromBinary(PluginStatsSchema, data);
  } catch {
    return undefined;
  }
}
