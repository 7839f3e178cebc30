import wabt from "wabt";

const compiler = await wabt();

const features = Object.fromEntries(
  [
    "exceptions mutable_globals sat_float_to_int sign_extension simd threads multi_value tail_call bulk_memory",
    "reference_types extended_const relaxed_simd memory64",
  ].flatMap((line) => line.split(" ").map((name) => [name, true])),
);

/** Compiles WebAssembly's text format. */
export function compileWat(text: string): Uint8Array<ArrayBuffer> {
  const module = compiler.parseWat("test.wat", text, features);
  try {
    return new Uint8Array(module.toBinary({}).buffer);
  } finally {
    module.destroy();
  }
}
