import { meter, type MeteredModule, type MeterOptions } from "./meter.ts";
import type { MeterLimits } from "./meter-limits.ts";

export interface MeterCacheOptions {
  /** Metered modules are forgotten, the longest unused first, above this many bytes together. */
  readonly maxBytes: number;
  /** A cryptographic hash as text. Default: SHA-256 by the Web Crypto API, in hexadecimal. */
  readonly hash?: (module: Uint8Array<ArrayBuffer>) => Promise<string>;
}

export interface CachedMeterOptions extends MeterOptions {
  /** Names what the renaming functions do: equal keys mean equal functions. Required with them. */
  readonly key?: string;
}

/** Remembers metered modules by the hash of the original, the limits and the options. */
export interface MeterCache {
  /** @throws ModuleRefused as `meter` does; a refusal is not remembered */
  meter(module: Uint8Array, limits: MeterLimits, options?: CachedMeterOptions): Promise<MeteredModule>;
  /** Bytes of the metered modules that are held. */
  readonly bytes: number;
}

export function createMeterCache({ maxBytes, hash = sha256 }: MeterCacheOptions): MeterCache {
  // In the order of their last use: a Map keeps the order of insertion.
  const entries = new Map<string, MeteredModule>();
  let bytes = 0;
  const remove = (key: string): void => {
    bytes -= entries.get(key)?.module.length ?? 0;
    entries.delete(key);
  };
  return {
    get bytes() {
      return bytes;
    },
    async meter(module, limits, options = {}) {
      if ((options.renameImport || options.renameExport) && options.key === undefined) {
        throw new TypeError("renaming functions need a key, or the cache could not tell them apart");
      }
      const { exportState = false, hostCallFuel = null, key: name = null } = options;
      // What is hashed is what is metered, whatever happens to the caller's bytes meanwhile.
      const copy = new Uint8Array(module);
      const sortedLimits = Object.entries(limits).toSorted(([a], [b]) => (a < b ? -1 : 1));
      const key = JSON.stringify([await hash(copy), sortedLimits, exportState, hostCallFuel, name]);
      const found = entries.get(key);
      const metered = found ?? meter(copy, limits, options);
      remove(key);
      if (metered.module.length > maxBytes) return metered;
      entries.set(key, metered);
      bytes += metered.module.length;
      for (const oldest of entries.keys()) {
        if (bytes <= maxBytes) break;
        remove(oldest);
      }
      return metered;
    },
  };
}

async function sha256(module: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", module));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
