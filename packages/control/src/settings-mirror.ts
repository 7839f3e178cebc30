import { BusError, type Bus, type KvBucket, type KvEntry, type KvWatch } from "@millrace/bus";
import { followSettings, type LiveConfig, type Logger, type SettingsFollower } from "@millrace/service-kit";
import type { Store } from "@millrace/store";

/** What decides whether a flag is on. */
export interface FlagState {
  readonly enabled: boolean;
  /** Of users, 0 to 100. */
  readonly percent: number;
}

export interface SettingsMirrorDeps {
  readonly bus: Bus;
  readonly store: Store;
  /** Of this process. */
  readonly live: LiveConfig;
  readonly logger: Logger;
}

/** Keys of settings have one part, those of flags two. */
const flagPrefix = "flag.";
/** Somebody else may have written at the same time: the whole is looked at again. */
const mostTries = 5;
const retryMs = 5_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Copies settings and flags from the database, where they are kept, into the bucket by which every process hears of them, and
 * hears of them itself.
 */
export class SettingsMirror implements AsyncDisposable {
  readonly #deps: SettingsMirrorDeps;
  readonly #bucket: KvBucket;
  readonly #follower: SettingsFollower;
  readonly #flags = new Map<string, FlagState>();
  readonly #flagWatch: KvWatch;
  #copying: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(deps: SettingsMirrorDeps) {
    this.#deps = deps;
    this.#bucket = deps.bus.kv("settings");
    this.#follower = followSettings(this.#bucket, deps.live, deps.logger);
    this.#flagWatch = this.#bucket.watch({
      keys: `${flagPrefix}*`,
      onEntry: (key, entry) => this.#takeFlag(key.slice(flagPrefix.length), entry),
    });
    void this.copy().catch(() => undefined);
  }

  /** Resolves when this process knows what the bucket held. */
  get ready(): Promise<unknown> {
    return Promise.all([this.#follower.ready, this.#flagWatch.ready]);
  }

  /** Undefined for a flag that nobody has set. */
  flag(name: string): FlagState | undefined {
    return this.#flags.get(name);
  }

  /**
   * Brings the bucket to what the database holds. When that fails it is tried again until it is done.
   * @throws MillraceError or BusError unavailable
   */
  copy(): Promise<void> {
    const copied = this.#copying.then(() => this.#copy());
    this.#copying = copied.catch((error: unknown) => {
      this.#deps.logger.warn({ err: error }, "settings are not copied to the broker yet");
      clearTimeout(this.#retry);
      if (!this.#stopped) this.#retry = setTimeout(() => void this.copy().catch(() => undefined), retryMs);
    });
    return copied;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await Promise.all([this.#copying, this.#follower[Symbol.asyncDispose](), this.#flagWatch[Symbol.asyncDispose]()]);
  }

  async #copy(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#copyOnce();
      } catch (error) {
        const isRace = error instanceof BusError && ["aborted", "already_exists"].includes(error.code);
        if (!isRace || tries === mostTries || this.#stopped) throw error;
      }
    }
  }

  async #copyOnce(): Promise<void> {
    // The bucket first: what is written into it since the database was read has another revision, and is not overwritten.
    const before = new Map((await this.#bucket.entries()).map((entry) => [entry.key, entry]));
    const { store } = this.#deps;
    const [settings, flags] = await Promise.all([store.settings.list(), store.settings.listFlags()]);
    // Known at once: who has changed something sees it. Not later: by then the bucket may have told of something newer.
    this.#follower.assume(new Map(settings.map(({ name, value }) => [name, value])));
    this.#flags.clear();
    for (const { name, enabled, percent } of flags) this.#flags.set(name, { enabled, percent });
    const wanted = new Map<string, string>();
    for (const { name, value } of settings) wanted.set(name, JSON.stringify(value));
    for (const { name, enabled, percent } of flags) {
      wanted.set(`${flagPrefix}${name}`, JSON.stringify({ enabled, percent } satisfies FlagState));
    }
    for (const [key, text] of wanted) {
      const entry = before.get(key);
      if (entry === undefined) await this.#bucket.create(key, encoder.encode(text));
      else if (decoder.decode(entry.value) !== text) {
        await this.#bucket.update(key, encoder.encode(text), entry.revision);
      }
    }
    for (const [key, { revision }] of before) if (!wanted.has(key)) await this.#bucket.delete(key, { revision });
  }

  #takeFlag(name: string, entry: KvEntry | undefined): void {
    try {
      if (entry === undefined) this.#flags.delete(name);
      else this.#flags.set(name, JSON.parse(decoder.decode(entry.value)) as FlagState);
    } catch (error) {
      this.#deps.logger.warn({ flag: name, err: error }, "a flag does not parse");
    }
  }
}
