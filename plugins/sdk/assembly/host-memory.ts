import { alloc, length, load_u64, load_u8, store_u64, store_u8 } from "@extism/as-pdk/lib/env";

/** Copies bytes into host memory, word by word: each call out of the module costs fuel. */
export function putBytes(bytes: Uint8Array): u64 {
  const size = bytes.length;
  const address = alloc(size);
  const from = bytes.dataStart;
  let at = 0;
  for (; at + 8 <= size; at += 8) store_u64(address + at, load<u64>(from + at));
  for (; at < size; at++) store_u8(address + at, load<u8>(from + at));
  return address;
}

export function putText(text: string): u64 {
  return putBytes(Uint8Array.wrap(String.UTF8.encode(text)));
}

/** Copies a block of host memory; the address must not be 0. */
export function takeBytes(address: u64): Uint8Array {
  const size = <i32>length(address);
  const bytes = new Uint8Array(size);
  const to = bytes.dataStart;
  let at = 0;
  for (; at + 8 <= size; at += 8) store<u64>(to + at, load_u64(address + at));
  for (; at < size; at++) store<u8>(to + at, load_u8(address + at));
  return bytes;
}

export function takeText(address: u64): string {
  return String.UTF8.decode(takeBytes(address).buffer);
}
