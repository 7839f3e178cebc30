/** For tests of this package. */
import { readFile } from "node:fs/promises";
import wabt from "wabt";
import type { CallResult } from "./call-result.ts";

const tools = await wabt();

/** A module from its text form. */
export function wat(text: string): Uint8Array<ArrayBuffer> {
  const parsed = tools.parseWat("test.wat", text, { bulk_memory: true, reference_types: true, sign_extension: true });
  try {
    return new Uint8Array(parsed.toBinary({}).buffer);
  } finally {
    parsed.destroy();
  }
}

export async function readFixtures(): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await readFile(new URL("../fixtures/fixtures.wasm", import.meta.url)));
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The output as text, or the failure. */
export const textOf = (result: CallResult): unknown => (result.ok ? new TextDecoder().decode(result.output) : result);
