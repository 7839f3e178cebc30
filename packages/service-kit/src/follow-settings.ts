import type { Logger } from "./create-logger.ts";
import type { LiveConfig } from "./live-config.ts";

/** A setting stands under its name; what else the bucket carries has a key of two parts. */
const settingKeys = "*";

/** Of bus's KvBucket what is needed here: service-kit does not know the broker. */
export interface SettingsBucket {
  watch(options: {
    readonly keys: string;
    readonly onEntry: (key: string, entry: { readonly value: Uint8Array } | undefined) => void;
  }): AsyncDisposable & { readonly ready: Promise<void> };
}

/** Hears of settings, and of their changes, until it is disposed; `ready` when it knows those that there are. */
export interface SettingsFollower extends AsyncDisposable {
  readonly ready: Promise<void>;
  /** Takes over everything that the database holds from who knows it before the bucket says so. */
  assume(stored: ReadonlyMap<string, unknown>): void;
}

/** Keeps a configuration, and the logger's level, up to date with the bucket that carries settings to all processes. */
export function followSettings(bucket: SettingsBucket, config: LiveConfig, logger: Logger): SettingsFollower {
  const stored = new Map<string, unknown>();
  const take = (): void => takeSettings(config, stored, logger);
  const decoder = new TextDecoder();
  const watch = bucket.watch({
    keys: settingKeys,
    onEntry: (name, entry) => {
      try {
        if (entry === undefined) stored.delete(name);
        else stored.set(name, JSON.parse(decoder.decode(entry.value)));
      } catch (error) {
        logger.warn({ name, err: error }, "a setting does not parse");
      }
      take();
    },
  });
  return {
    ready: watch.ready,
    assume(known) {
      stored.clear();
      for (const [name, value] of known) stored.set(name, value);
      take();
    },
    [Symbol.asyncDispose]: () => watch[Symbol.asyncDispose](),
  };
}

/** Brings a configuration to everything that the database holds, and the logger to its level when that changes. */
export function takeSettings(config: LiveConfig, stored: ReadonlyMap<string, unknown>, logger: Logger): void {
  const before: unknown = config.values["logLevel"];
  for (const problem of config.follow(stored)) logger.warn({ problem }, "a setting in the database cannot be used");
  const level: unknown = config.values["logLevel"];
  if (level !== before) logger.level = String(level);
}
