import { BusError, type Bus, type KvBucket, type KvEntry } from "@millrace/bus";
import { kvEntryBytes } from "@millrace/plugin-host";
import { badRequest, exceeded, unavailable } from "./host-failure.ts";

export const storeLimits = { keyBytes: 256, valueBytes: 512 << 10, listedKeys: 1000 } as const;

/** Writers of one plugin that get in each other's way try again so often. */
const mostTries = 32;
/** In front of each value: when it ends, Unix ms as a big-endian f64; 0 is never. */
const expiryBytes = 8;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A plugin, and what it may store. */
export interface StoreOwner {
  readonly plugin: string;
  readonly quotaBytes: number;
}

interface Found {
  readonly entry: KvEntry | undefined;
  /** Of the quota; 0 when there is none. */
  readonly bytes: number;
  readonly value: Uint8Array | undefined;
}

/**
 * Key-value state of plugins: `<plugin>.<key in base64url>`, and under `<plugin>` how many bytes of its quota they take.
 *
 * Bytes are reserved in that figure, by compare-and-set, before a value is written, and given back when one has gone; so all
 * workers together never store more than the quota. A worker that dies in between leaves the figure too high: it is counted
 * anew when the quota seems used up. What others have reserved and not yet written at that moment escapes the count.
 * Expired values count until they are read, listed or counted. What has gone leaves no marker: plugins make up keys without end.
 */
export class PluginStore {
  readonly #bucket: KvBucket;
  /** The list that is being made: each takes the worker's own thread for a while, so they come one after the other. */
  #listing: Promise<unknown> = Promise.resolve();
  /** Lists that wait for their turn, by plugin: whoever asks until it begins shares it, so that none takes the turns of others. */
  readonly #nextLists = new Map<string, Promise<string[]>>();

  constructor(bus: Bus) {
    this.#bucket = bus.kv("pluginState");
  }

  async get(owner: StoreOwner, key: string): Promise<Uint8Array | undefined> {
    return (await this.#find(owner, keyName(owner, key))).value;
  }

  /**
   * @param ttlMs 0: it stays
   * @throws HostFailure when the quota is used up
   */
  async set(owner: StoreOwner, key: string, value: Uint8Array, ttlMs: number): Promise<void> {
    const { valueBytes } = storeLimits;
    if (value.length > valueBytes) {
      throw exceeded({ resource: "kv", figure: value.length, limit: valueBytes, unit: "bytes" }, { fatal: false });
    }
    const name = keyName(owner, key);
    const stored = new Uint8Array(expiryBytes + value.length);
    new DataView(stored.buffer).setFloat64(0, ttlMs > 0 ? Date.now() + ttlMs : 0);
    stored.set(value, expiryBytes);
    const bytes = encoder.encode(key).length + value.length + kvEntryBytes;
    await this.#retry(async () => {
      const { entry, bytes: before } = await this.#find(owner, name);
      const growth = bytes - before;
      if (growth > 0) await this.#reserve(owner, growth);
      try {
        if (entry === undefined) await this.#bucket.create(name, stored);
        else await this.#bucket.update(name, stored, entry.revision);
      } catch (error) {
        // Nothing was stored only when the broker said so.
        if (growth > 0 && isConflict(error)) await this.#reserve(owner, -growth);
        throw error;
      }
      if (growth < 0) await this.#reserve(owner, growth);
    });
  }

  async delete(owner: StoreOwner, key: string): Promise<void> {
    const name = keyName(owner, key);
    await this.#retry(async () => {
      const { entry, bytes } = await this.#find(owner, name);
      if (entry !== undefined) await this.#remove(owner, name, entry.revision, bytes);
    });
  }

  /** Keys that begin with `prefix`, in order. */
  async list(owner: StoreOwner, prefix: string, limit: number): Promise<string[]> {
    const most = Math.min(limit, storeLimits.listedKeys);
    const keys: string[] = [];
    for (const key of await this.#keys(owner)) if (key.startsWith(prefix)) keys.push(key);
    const present: string[] = [];
    for (const key of keys.sort()) {
      if (present.length >= most) break;
      if ((await this.#find(owner, keyName(owner, key))).value !== undefined) present.push(key);
    }
    return present;
  }

  #keys(owner: StoreOwner): Promise<readonly string[]> {
    const { plugin } = owner;
    const waiting = this.#nextLists.get(plugin);
    if (waiting !== undefined) return waiting;
    const keys = this.#listing.then(async () => {
      this.#nextLists.delete(plugin);
      return (await this.#bucket.keys(`${plugin}.*`)).map((name) => decodeKey(name.slice(plugin.length + 1)));
    });
    this.#nextLists.set(plugin, keys);
    this.#listing = keys.catch(() => undefined);
    return keys;
  }

  /** What stands under a name. What has expired is removed on the way. */
  async #find(owner: StoreOwner, name: string): Promise<Found> {
    const entry = await this.#bucket.get(name);
    if (entry === undefined) return { entry, bytes: 0, value: undefined };
    const { value } = entry;
    const bytes = sizeOf(owner, name, value);
    const endMs = new DataView(value.buffer, value.byteOffset).getFloat64(0);
    if (endMs === 0 || endMs > Date.now()) return { entry, bytes, value: value.subarray(expiryBytes) };
    await this.#remove(owner, name, entry.revision, bytes);
    return { entry: undefined, bytes: 0, value: undefined };
  }

  async #remove(owner: StoreOwner, name: string, revision: number, bytes: number): Promise<void> {
    await this.#bucket.remove(name, revision);
    await this.#reserve(owner, -bytes);
  }

  /** What has grown within the quota may shrink within a smaller one. */
  async #reserve(owner: StoreOwner, delta: number): Promise<void> {
    let isCounted = false;
    await this.#retry(async () => {
      const entry = await this.#bucket.get(owner.plugin);
      const used = entry === undefined ? 0 : Number(decoder.decode(entry.value)) || 0;
      const next = Math.max(0, used + delta);
      if (delta > 0 && next > owner.quotaBytes) {
        if (isCounted) {
          throw exceeded({ resource: "kv", figure: next, limit: owner.quotaBytes, unit: "bytes" }, { fatal: false });
        }
        isCounted = true;
        await this.#writeUsed(owner, await this.#count(owner), entry);
        throw new BusError("aborted", "counted anew");
      }
      await this.#writeUsed(owner, next, entry);
    });
  }

  async #writeUsed(owner: StoreOwner, bytes: number, entry: KvEntry | undefined): Promise<void> {
    const value = encoder.encode(String(bytes));
    if (entry === undefined) await this.#bucket.create(owner.plugin, value);
    else await this.#bucket.update(owner.plugin, value, entry.revision);
  }

  async #count(owner: StoreOwner): Promise<number> {
    let bytes = 0;
    const expired: Pick<KvEntry, "key" | "revision">[] = [];
    const nowMs = Date.now();
    await using watch = this.#bucket.watch({
      keys: `${owner.plugin}.*`,
      onEntry: (name, entry) => {
        if (entry === undefined) return;
        const endMs = new DataView(entry.value.buffer, entry.value.byteOffset).getFloat64(0);
        if (endMs !== 0 && endMs <= nowMs) expired.push({ key: name, revision: entry.revision });
        else bytes += sizeOf(owner, name, entry.value);
      },
    });
    await watch.ready;
    for (const { key, revision } of expired) await this.#bucket.remove(key, revision);
    return bytes;
  }

  /** Again when another writer was first. */
  async #retry(work: () => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        return await work();
      } catch (error) {
        if (!isConflict(error)) throw error;
        if (tries === mostTries) throw unavailable(`kv: ${mostTries} times another writer was first`, error);
      }
    }
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof BusError && (error.code === "aborted" || error.code === "already_exists");
}

function keyName(owner: StoreOwner, key: string): string {
  const bytes = encoder.encode(key);
  if (bytes.length === 0 || bytes.length > storeLimits.keyBytes) {
    throw badRequest(`kv: a key has 1 to ${storeLimits.keyBytes} bytes, not ${bytes.length}`);
  }
  return `${owner.plugin}.${Buffer.from(bytes).toString("base64url")}`;
}

function decodeKey(encoded: string): string {
  return Buffer.from(encoded, "base64url").toString();
}

function sizeOf(owner: StoreOwner, name: string, stored: Uint8Array): number {
  const keyBytes = Buffer.from(name.slice(owner.plugin.length + 1), "base64url").length;
  return keyBytes + Math.max(0, stored.length - expiryBytes) + kvEntryBytes;
}
