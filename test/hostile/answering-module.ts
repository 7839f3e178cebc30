import { assemble } from "./assemble.ts";

/**
 * A plugin each of whose exports answers with these bytes, whatever it is asked.
 * @param answers bytes by the export's name
 */
export function answeringModule(answers: Readonly<Record<string, Uint8Array>>): Uint8Array<ArrayBuffer> {
  let at = 0;
  const parts = Object.entries(answers).map(([name, bytes]) => {
    const base = at;
    at += bytes.length;
    const text = [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
    return `(data (i32.const ${base}) "${text}")
      (func (export "${name}") (result i32) (call $answer (i32.const ${base}) (i32.const ${bytes.length})) (i32.const 0))`;
  });
  return assemble(
    "answers",
    `(module
      (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
      (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
      (import "extism:host/env" "output_set" (func $output (param i64 i64)))
      (memory ${Math.ceil((at + 1) / 65_536)})
      (func $answer (param $at i32) (param $length i32) (local $block i64) (local $i i32)
        (local.set $block (call $alloc (i64.extend_i32_u (local.get $length))))
        (block $end (loop $copy
          (br_if $end (i32.ge_u (local.get $i) (local.get $length)))
          (call $store (i64.add (local.get $block) (i64.extend_i32_u (local.get $i)))
            (i32.load8_u (i32.add (local.get $at) (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $copy)))
        (call $output (local.get $block) (i64.extend_i32_u (local.get $length))))
      (func (export "trap") unreachable)
      (func (export "loop") (loop $again (br $again)))
      ${parts.join("\n")})`,
  );
}
