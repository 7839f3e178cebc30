import type { CallContext } from "@extism/extism";
import type { CallState, HostRegion } from "./call-state.ts";
import type { LogLevel } from "./call-result.ts";
import type { Capability } from "./known-imports.ts";

/** Extism's address: the block's index in the upper 16 bits, an offset in it in the lower 48. */
const OFFSET_MASK = (1n << 48n) - 1n;
/** What decoding a text costs beside its bytes. */
const DECODE_FUEL = 9000;
/** Of what is handed to the worker with one ask: a message to the broker must hold it, and 256 calls may ask at once. */
const MAX_BODY_BYTES = 1024 * 1024;
const decoder = new TextDecoder();

/** Reads and writes blocks of Extism's host memory for a call, and accounts for them. */
export class HostMemory {
  readonly #state: CallState;

  constructor(state: CallState) {
    this.#state = state;
  }

  /** Makes a block of these bytes. */
  store(context: CallContext, bytes: Uint8Array): bigint {
    this.#state.charge(bytes.length);
    const address = context.alloc(bytes.length);
    viewOf(context, address).set(bytes);
    return address;
  }

  readText(context: CallContext, address: bigint, maxBytes: number): string {
    const bytes = viewOf(context, address);
    if (bytes.length > maxBytes) {
      this.#state.fail("HOST_DENIED", `a text of ${bytes.length} bytes for a host function; the limit is ${maxBytes}`);
    }
    this.#state.spend(DECODE_FUEL + bytes.length);
    return decoder.decode(bytes);
  }

  /** Copies a block for the worker; nothing for address 0. */
  takeBody(context: CallContext, address: bigint, capability: Capability): { body?: Uint8Array } {
    if (address === 0n) return {};
    const bytes = viewOf(context, address);
    if (bytes.length > MAX_BODY_BYTES) {
      const breach = { resource: capability, figure: bytes.length, limit: MAX_BODY_BYTES, unit: "bytes" } as const;
      const message = `${capability}: a body of ${bytes.length} bytes; the limit is ${MAX_BODY_BYTES}`;
      this.#state.fail("HOST_DENIED", message, breach);
    }
    return { body: bytes.slice() };
  }

  log(context: CallContext, level: LogLevel, address: bigint): void {
    const bytes = viewOf(context, address);
    this.#state.writeLog(level, bytes.length, () => decoder.decode(bytes));
  }
}

/** The bytes of the block at an address, in place. */
export function viewOf(context: CallContext, address: bigint): Uint8Array {
  const block = context.read(address);
  if (!block) throw new RangeError(`no block of host memory at address ${address}`);
  return block.bytes();
}

/** Copies a region, at most `limit` bytes of it. */
export function copyRegion(
  context: CallContext,
  { address, length }: HostRegion,
  limit: number,
): Uint8Array<ArrayBuffer> {
  if (length === 0) return new Uint8Array(0);
  const offset = Number(address & OFFSET_MASK);
  return Uint8Array.from(viewOf(context, address).subarray(offset, offset + Math.min(length, limit)));
}

export function regionOf(context: CallContext, address: bigint, length: number): HostRegion {
  const offset = Number(address & OFFSET_MASK);
  // Not by its bytes: Extism makes an object of its own to show them, at some cost. A block that is not there has no length.
  const size = Number(context.length(address));
  if (!(length >= 0 && offset + length <= size)) {
    throw new RangeError(`${length} bytes at offset ${offset} of a block of ${size} bytes of host memory`);
  }
  return { address, length };
}
