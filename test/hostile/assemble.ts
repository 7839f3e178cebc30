import { readFile } from "node:fs/promises";
import wabt from "wabt";

const tools = await wabt();
/** All that wabt can write, refused features included. */
const features = {
  annotations: true,
  bulk_memory: true,
  exceptions: true,
  extended_const: true,
  memory64: true,
  multi_memory: true,
  multi_value: true,
  mutable_globals: true,
  reference_types: true,
  relaxed_simd: true,
  sat_float_to_int: true,
  sign_extension: true,
  simd: true,
  tail_call: true,
  threads: true,
};

/** A module from its text form. */
export function assemble(name: string, text: string): Uint8Array<ArrayBuffer> {
  const parsed = tools.parseWat(`${name}.wat`, text, features);
  try {
    return new Uint8Array(parsed.toBinary({}).buffer);
  } finally {
    parsed.destroy();
  }
}

/** `corpus/<name>.wat`, or `corpus/<name>.wasm` where a compiler made it. */
export async function readSource(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const folder = new URL("corpus/", import.meta.url);
  if (name.startsWith("c-")) return new Uint8Array(await readFile(new URL(`${name}.wasm`, folder)));
  return assemble(name, await readFile(new URL(`${name}.wat`, folder), "utf8"));
}
