import { putBytes, putText, takeBytes, takeText } from "./host-memory";
import { JsonReader } from "./json";

@external("millrace:host/kv", "get")
declare function kv_get(key: u64): u64;
@external("millrace:host/kv", "set")
declare function kv_set(key: u64, value: u64, ttlMs: u64): i32;
@external("millrace:host/kv", "delete")
declare function kv_delete(key: u64): i32;
@external("millrace:host/kv", "list")
declare function kv_list(prefix: u64, limit: i32): u64;

/** State of the plugin that outlives a call. Takes the capability `kvBytes`, which is its quota. */
export class Kv {
  /** Null when there is no such key, or after a failure: HostError.last() tells them apart. */
  static get(key: string): Uint8Array | null {
    const address = kv_get(putText(key));
    return address == 0 ? null : takeBytes(address);
  }

  static getText(key: string): string | null {
    const value = Kv.get(key);
    return value === null ? null : String.UTF8.decode(value.buffer);
  }

  /** @param ttlMs after which the value is gone; 0 keeps it. @returns false after a failure, such as the quota's */
  static set(key: string, value: Uint8Array, ttlMs: u64 = 0): bool {
    return kv_set(putText(key), putBytes(value), ttlMs) == 0;
  }

  static setText(key: string, value: string, ttlMs: u64 = 0): bool {
    return Kv.set(key, Uint8Array.wrap(String.UTF8.encode(value)), ttlMs);
  }

  /** True also when there was no such key. */
  static delete(key: string): bool {
    return kv_delete(putText(key)) == 0;
  }

  /** Keys that start with the prefix, in ascending order; none after a failure. */
  static list(prefix: string, limit: i32): string[] {
    const address = kv_list(putText(prefix), limit);
    const keys: string[] = [];
    if (address == 0) return keys;
    const items = new JsonReader(takeText(address)).read().items;
    for (let i = 0; i < items.length; i++) keys.push(items[i].text);
    return keys;
  }
}
