import { describe, expect, test } from "vitest";
import { loadPlugin } from "./load-plugin.ts";
import { prepareModule } from "./prepare-module.ts";
import { wat } from "./testing.ts";

const nothing = new Uint8Array(0);

/** The codes of three calls of `run`, of which the later repeat the first only if nothing was left. */
async function codes(module: Uint8Array): Promise<string[]> {
  const plugin = await loadPlugin(module);
  const results = [
    await plugin.call("run", nothing),
    await plugin.call("run", nothing),
    await plugin.call("run", nothing),
  ];
  return results.map((result) => (result.ok ? "ok" : result.message));
}

const stateOf = (module: Uint8Array) => prepareModule(module).report.state;
const thrice = ["ok", "ok", "ok"];

describe("no state stays", () => {
  test("in a table: a module that empties an entry finds it full again", async () => {
    const module = wat(`(module (table 1 funcref) (elem (i32.const 0) $run)
      (func $run (export "run") (result i32)
        (ref.is_null (table.get 0 (i32.const 0)))
        (table.set 0 (i32.const 0) (ref.null func))))`);
    expect(stateOf(module)).toMatchObject({ restorable: false });
    expect(await codes(module)).toEqual(thrice);
  });

  test("in the size of a memory", async () => {
    const module = wat(`(module (memory 1) (func (export "run") (result i32)
      (i32.sub (memory.size) (i32.const 1)) (drop (memory.grow (i32.const 1)))))`);
    expect(stateOf(module)).toMatchObject({ restorable: true });
    expect(await codes(module)).toEqual(thrice);
  });

  test("in memory, whether it began as zero or not", async () => {
    const module = wat(`(module (memory 1) (data (i32.const 8) "\\01")
      (func (export "run") (result i32)
        (i32.add (i32.sub (i32.load8_u (i32.const 8)) (i32.const 1)) (i32.load (i32.const 60000)))
        (i32.store8 (i32.const 8) (i32.const 7))
        (i32.store (i32.const 60000) (i32.const 7))))`);
    expect(await codes(module)).toEqual(thrice);
  });

  test("of a call that trapped half way", async () => {
    // Traps with "left" in memory and a global, unless something was there before.
    const module = wat(`(module (memory 1) (global $g (mut i32) (i32.const 0)) (func (export "run") (result i32)
      (if (i32.or (global.get $g) (i32.load (i32.const 4))) (then (return (i32.const 9))))
      (global.set $g (i32.const 1)) (i32.store (i32.const 4) (i32.const 1)) unreachable))`);
    expect(await codes(module)).toEqual(["unreachable", "unreachable", "unreachable"]);
  });

  test("in the null page of host memory, written or freed", async () => {
    const module = wat(`(module
      (import "extism:host/env" "load_u8" (func $load (param i64) (result i32)))
      (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
      (import "extism:host/env" "free" (func $free (param i64)))
      (func (export "run") (result i32)
        (call $load (i64.const 0)) (call $store (i64.const 0) (i32.const 7)))
      (func (export "free") (result i32)
        (call $load (i64.const 0)) (call $free (i64.const 0))))`);
    expect(await codes(module)).toEqual(thrice);
    const plugin = await loadPlugin(module);
    for (const name of ["free", "run", "free"]) expect(await plugin.call(name, nothing)).toMatchObject({ ok: true });
  });

  test("in the size of a table", async () => {
    const module = wat(`(module (table 1 funcref) (func (export "run") (result i32)
      (i32.sub (table.size 0) (i32.const 1)) (drop (table.grow 0 (ref.null func) (i32.const 1)))))`);
    expect(await codes(module)).toEqual(thrice);
  });

  test("in a global that is not exported", async () => {
    const module = wat(`(module (global $g (mut i32) (i32.const 0)) (func (export "run") (result i32)
      (global.get $g) (global.set $g (i32.add (global.get $g) (i32.const 1)))))`);
    expect(stateOf(module)).toMatchObject({ restorable: true, globals: [0] });
    expect(await codes(module)).toEqual(thrice);
  });

  test("in a passive segment: it is dropped, and a fresh instance has it again", async () => {
    const module = wat(`(module (memory 1) (data $d "*") (func (export "run") (result i32)
      (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d) (i32.const 0)))`);
    expect(stateOf(module)).toMatchObject({ restorable: false });
    expect(await codes(module)).toEqual(thrice);
  });

  test("in a global that is a reference", async () => {
    const module = wat(`(module (global $g (mut funcref) (ref.null func)) (elem declare func $run)
      (func $run (export "run") (result i32)
        (i32.eqz (ref.is_null (global.get $g))) (global.set $g (ref.func $run))))`);
    expect(stateOf(module)).toMatchObject({ restorable: false });
    expect(await codes(module)).toEqual(thrice);
  });
});
