import { expect, it } from "vitest";
import { InstanceSnapshot } from "./instance-snapshot.ts";
import { instantiate } from "./testing/metered-instance.ts";

const PAGE_BYTES = 65_536;
const secret = `(module (memory 1) (global $calls (mut i32) (i32.const 0)) (data (i32.const 0) "first")
  (func (export "leave") (param i32) (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 100) (local.get 0))
    (global.get $calls))
  (func (export "look") (result i32) (i32.load (i32.const 100)))
  (func (export "grow") (drop (memory.grow (i32.const 1)))))`;

it("takes memory and globals back to where they were", () => {
  const { exports, report, call } = instantiate(secret, {}, {}, { exportState: true });
  const snapshot = InstanceSnapshot.take(exports, report.state, PAGE_BYTES);
  expect(call("leave", [42])).toBe(1);
  expect(snapshot?.restore()).toBe(true);
  expect(call("look")).toBe(0);
  expect(call("leave", [1])).toBe(1);
});

it("says when the memory has grown, and takes none that is larger than asked", () => {
  const { exports, report, call } = instantiate(secret, {}, {}, { exportState: true });
  const snapshot = InstanceSnapshot.take(exports, report.state, PAGE_BYTES);
  call("grow");
  expect(snapshot?.restore()).toBe(false);
  expect(InstanceSnapshot.take(exports, report.state, PAGE_BYTES)).toBeUndefined();
});

it.each([
  [`(module (table 1 funcref) (func (table.set (i32.const 0) (ref.null func))))`, ["an instruction writes to a table"]],
  [`(module (memory 1) (data $d "x") (func (data.drop $d)))`, ["an instruction drops a segment"]],
  [`(module (global (mut externref) (ref.null extern)))`, ["global 0 is of type externref"]],
  [`(module (memory 1) (data $d "x") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1))))`, []],
])("is taken only where it names all the state: %s", (text, reasons) => {
  const { exports, report } = instantiate(text, {}, {}, { exportState: true });
  expect(report.state.reasons).toEqual(reasons);
  const snapshot = InstanceSnapshot.take(exports, report.state, PAGE_BYTES);
  expect(snapshot !== undefined).toBe(reasons.length === 0);
});

it("needs the state exported", () => {
  const { exports, report } = instantiate(secret);
  expect(() => InstanceSnapshot.take(exports, report.state, PAGE_BYTES)).toThrow(TypeError);
});
