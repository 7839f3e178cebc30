import { describe, expect, it } from "vitest";
import { meter } from "./meter.ts";
import { compileWat } from "./testing/compile-wat.ts";
import { errorOf, instantiate, testLimits } from "./testing/metered-instance.ts";
import { reservedNames } from "./reserved-names.ts";

describe("fuel", () => {
  const count = `(module (func (export "count") (param i32) (result i32)
    (loop $again (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 0)))`;

  it("is charged for what runs", () => {
    const { call, gauge } = instantiate(count);
    expect(call("count", [1000])).toBe(0);
    // i32.sub and br_if, a thousand times.
    expect(gauge.fuelUsed).toBe(2000);
    expect(gauge.fuelLeft).toBe(1e9 - 2000);
  });

  it("ends an endless loop", () => {
    const { call, gauge } = instantiate(`(module (func (export "f") (loop $l (br $l))))`);
    const error = errorOf(() => call("f", [], 1000));
    expect(error).toBeInstanceOf(WebAssembly.RuntimeError);
    expect(gauge.breachOf(error)).toEqual({ code: "OUT_OF_FUEL", used: 1001, limit: 1000 });
  });

  it("ends loops in the start function, in an indirect call and between functions", () => {
    const loops = `(module (table funcref (elem $loop)) (type $t (func))
      (func $loop (loop $l (br $l)))
      (func $a (return_call $b)) (func $b (return_call $a))
      (func (export "indirect") (call_indirect (type $t) (i32.const 0)))
      (func (export "tails") (call $a))
      (start $loop))`;
    const { call, gauge, report } = instantiate(loops);
    expect(report.start).toBe(reservedNames.start);
    for (const name of [reservedNames.start, "indirect", "tails"]) {
      expect(gauge.breachOf(errorOf(() => call(name, [], 1e6)))).toMatchObject({ code: "OUT_OF_FUEL" });
    }
  });

  it("is charged for bulk operations before they run, by their unsigned length", () => {
    const bulk = `(module (memory 2) (data $d "abc") (table 50 funcref) (elem $e func)
      (func (export "fill") (param i32) (memory.fill (i32.const 0) (i32.const 1) (local.get 0)))
      (func (export "copy") (param i32) (memory.copy (i32.const 0) (i32.const 8) (local.get 0)))
      (func (export "init") (param i32) (memory.init $d (i32.const 0) (i32.const 0) (local.get 0)))
      (func (export "tableFill") (param i32) (table.fill (i32.const 0) (ref.null func) (local.get 0)))
      (func (export "tableCopy") (param i32) (table.copy (i32.const 0) (i32.const 0) (local.get 0)))
      (func (export "tableInit") (param i32) (table.init $e (i32.const 0) (i32.const 0) (local.get 0))))`;
    const { call, gauge } = instantiate(bulk);
    call("fill", [80_000]);
    expect(gauge.fuelUsed).toBe(16 + 10_000);
    call("copy", [80_000]);
    expect(gauge.fuelUsed).toBe(16 + 10_000);
    call("init", [3]);
    expect(gauge.fuelUsed).toBe(16);
    call("tableFill", [50]);
    expect(gauge.fuelUsed).toBe(1 + 500 + 50 * 16);
    for (const name of ["fill", "copy", "init", "tableFill", "tableCopy", "tableInit"]) {
      expect(gauge.breachOf(errorOf(() => call(name, [-1], 1e6)))).toMatchObject({ code: "OUT_OF_FUEL" });
    }
  });

  it("is charged for host calls, also through a table", () => {
    const text = `(module (import "env" "f" (func $f)) (table funcref (elem $f)) (type $t (func))
      (func (export "direct") (call $f)) (func (export "indirect") (call_indirect (type $t) (i32.const 0))))`;
    const { call, gauge } = instantiate(text, {}, { env: { f: () => gauge.charge(7) } }, { hostCallFuel: 1000 });
    call("direct");
    expect(gauge.fuelUsed).toBe(3 + 1000 + 7);
    call("indirect");
    expect(gauge.fuelUsed).toBe(6 + 1000 + 7);
  });

  it("is right after a throw out of a callee, at a catch in a loop", () => {
    const text = `(module (tag $e)
      (func $throws (param i32) (if (i32.and (local.get 0) (i32.const 1)) (then (throw $e))))
      (func (export "modern") (param i32) (result i32) (local $caught i32)
        (loop $again
          (block $after (block $handler (try_table (catch_all $handler) (call $throws (local.get 0))) (br $after))
            (local.set $caught (i32.add (local.get $caught) (i32.const 1))))
          (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get $caught)))`;
    const legacy = text
      .replace(
        /\(block \$after[\s\S]*\(i32\.const 1\)\)\)\)\n/,
        `(try (do (call $throws (local.get 0)))
        (catch_all (local.set $caught (i32.add (local.get $caught) (i32.const 1)))))\n`,
      )
      .replace("modern", "legacy");
    for (const [name, source] of [
      ["modern", text],
      ["legacy", legacy],
    ] as const) {
      const { call, gauge } = instantiate(source);
      expect(call(name, [1000])).toBe(500);
      const once = gauge.fuelUsed;
      expect(once).toBeGreaterThan(500 * 1000);
      expect(call(name, [1000])).toBe(500);
      expect(gauge.fuelUsed).toBe(once);
      expect(gauge.breachOf(errorOf(() => call(name, [1000], once / 2)))).toMatchObject({ code: "OUT_OF_FUEL" });
    }
  });
});

describe("call depth", () => {
  const text = `(module (tag $e) (table funcref (elem $table)) (type $t (func (param i32) (result i32)))
    (func $down (export "down") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 0))))
    (func $a (param i32) (result i32) (if (result i32) (local.get 0) (then (call $b (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7))))
    (func $b (param i32) (result i32) (call $a (local.get 0)))
    (func (export "mutual") (param i32) (result i32) (call $a (local.get 0)))
    (func $table (export "table") (param i32) (result i32)
      (if (result i32) (local.get 0)
        (then (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 0))) (else (i32.const 9))))
    (func (export "twice") (param i32) (result i32) (i32.add (call $down (local.get 0)) (call $down (local.get 0))))
    (func $throws (param i32) (if (local.get 0) (then (call $throws (i32.sub (local.get 0) (i32.const 1))))) (throw $e))
    (func (export "caught") (param i32) (result i32) (local $left i32)
      (local.set $left (i32.const 20))
      (loop $again
        (block $handler (try_table (catch_all $handler) (call $throws (local.get 0))))
        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (i32.add (i32.const 0) (call $down (local.get 0))))
    (func $tail (export "tail") (param i32) (result i32)
      (if (result i32) (local.get 0) (then (return_call $tail (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 5)))))`;

  it("is bounded, exactly and again for each call", () => {
    const { call, gauge } = instantiate(text, { callDepth: 100 });
    expect(call("down", [99])).toBe(99);
    for (const [name, deepest] of [
      ["down", 99],
      ["table", 99],
      ["mutual", 48],
    ] as const) {
      call(name, [deepest]);
      const error = errorOf(() => call(name, [deepest + 3]));
      expect(gauge.breachOf(error)).toEqual({ code: "CALL_DEPTH", limit: 100 });
    }
    expect(call("twice", [98])).toBe(196);
  });

  it("is given back by returns and throws", () => {
    const { call } = instantiate(text, { callDepth: 100 });
    expect(call("caught", [90])).toBe(90);
  });

  it("does not grow by tail calls", () => {
    expect(instantiate(text, { callDepth: 100 }).call("tail", [100_000])).toBe(5);
  });

  it("is taken sixteen times as fast by frames that can hold as many exceptions", () => {
    const caught = (count: number) =>
      Array.from(
        { length: count },
        (_, i) => `(block $c${i} (result exnref) (try_table (catch_all_ref $c${i}) (throw $t)) unreachable)`,
      ).join(" ");
    const recursion = "(if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))";
    const tries = (inside: string) => `(try (do (throw $t)) (catch_all ${inside}))`;
    const frames = [
      // A local and a block for each, and what lies on the stack after it was read out of its local.
      `(local $e exnref) (local exnref exnref) ${caught(13)} ${recursion} ${"drop ".repeat(13)}`,
      `(local $e exnref) ${`${caught(1)} (local.set $e) (local.get $e) `.repeat(8)} ${recursion} ${"drop ".repeat(8)}`,
      Array.from({ length: 16 }).reduce<string>(tries, recursion),
    ];
    for (const frame of frames) {
      const text = `(module (tag $t) (func $f (export "f") (param i32) ${frame}))`;
      const { call, gauge } = instantiate(text, { callDepth: 100 });
      call("f", [49]);
      expect(gauge.breachOf(errorOf(() => call("f", [50])))).toEqual({ code: "CALL_DEPTH", limit: 100 });
    }
    const few = `(module (tag $t) (func $f (export "f") (param i32) (local $e exnref) ${caught(1)} (local.set $e) ${recursion}))`;
    instantiate(few, { callDepth: 100 }).call("f", [99]);
  });

  it("costs the rewriter no more for locals that hold exceptions than for others", () => {
    const bestMs = (type: string): number => {
      const [locals, gets] = [`(local ${type}) (local i32) `.repeat(2000), "(drop (local.get 3999)) ".repeat(20_000)];
      const module = compileWat(`(module (func ${locals} ${gets}))`);
      const timesMs = [1, 2, 3].map(() => {
        const startMs = performance.now();
        meter(module, testLimits);
        return performance.now() - startMs;
      });
      return Math.min(...timesMs);
    };
    // A look through all groups of locals at each place takes forty times as long.
    expect(bestMs("exnref")).toBeLessThan(10 * bestMs("f64"));
  });

  it("counts the engine's own end of the stack as the same breach", () => {
    const { call, gauge } = instantiate(text, { callDepth: 1e6 });
    expect(gauge.breachOf(errorOf(() => call("down", [1e6 - 1])))).toMatchObject({ code: "CALL_DEPTH" });
  });

  it("bounds long chains of calls without a cycle", () => {
    const chain = Array.from({ length: 300 }, (_, index) => `(func $f${index} (call $f${index + 1}))`).join("\n");
    const { call, gauge } = instantiate(`(module ${chain} (func $f300) (func (export "f") (call $f0)))`, {
      callDepth: 100,
    });
    expect(gauge.breachOf(errorOf(() => call("f")))).toMatchObject({ code: "CALL_DEPTH" });
  });
});

describe("memory and tables", () => {
  it("are clamped, and a refusal is told apart from other traps", () => {
    const text = `(module (memory 1) (table $t 2 funcref) (table $x 1 20 externref)
      (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
      (func (export "growTable") (param i32) (result i32) (table.grow $t (ref.null func) (local.get 0)))
      (func (export "growX") (param i32) (result i32) (table.grow $x (ref.null extern) (local.get 0)))
      (func (export "abort") (param i32) (drop (memory.grow (local.get 0))) (unreachable))
      (func (export "abortTable") (drop (table.grow $t (ref.null func) (i32.const 1000))) (unreachable)))`;
    const { call, gauge, report } = instantiate(text);
    expect(report.clamped).toEqual([
      { what: "memory", index: 0, before: null, after: 10 },
      { what: "table", index: 0, before: null, after: 100 },
    ]);
    expect(call("grow", [9])).toBe(1);
    expect(gauge.fuelUsed).toBe(1 + 100_000 + 9 * 65_536);
    expect(call("grow", [1])).toBe(-1);
    expect(call("grow", [-1])).toBe(-1);
    expect(gauge.fuelUsed).toBe(1 + 100_000);
    expect(call("growTable", [98])).toBe(2);
    expect(gauge.fuelUsed).toBe(2 + 1000 + 100);
    expect(call("growTable", [1])).toBe(-1);
    expect(call("growX", [20])).toBe(-1);
    const memory = errorOf(() => call("abort", [5]));
    expect(gauge.breachOf(memory)).toEqual({ code: "OUT_OF_MEMORY", what: "memory", wanted: 15, limit: 10 });
    const table = errorOf(() => call("abortTable"));
    expect(gauge.breachOf(table)).toEqual({ code: "OUT_OF_MEMORY", what: "table", wanted: 1100, limit: 100 });
    expect(gauge.breachOf(errorOf(() => call("abort", [0])))).toBeUndefined();
    expect(gauge.breachOf(errorOf(() => call("grow", [9], 1000)))).toMatchObject({ code: "OUT_OF_FUEL" });
  });

  it("are not clamped above their own maxima, and imported ones are too", () => {
    const { report } = instantiate(
      `(module (import "env" "m" (memory 1 500)) (import "env" "t" (table 1 funcref)) (table 1 5 funcref))`,
      {},
      {
        env: {
          m: new WebAssembly.Memory({ initial: 1, maximum: 10 }),
          t: new WebAssembly.Table({ element: "anyfunc", initial: 1, maximum: 100 }),
        },
      },
    );
    expect(report.clamped).toEqual([
      { what: "memory", index: 0, before: 500, after: 10 },
      { what: "table", index: 0, before: null, after: 100 },
    ]);
  });
});

describe("names", () => {
  const text = `(module (import "a" "b" (func $b (param i32))) (memory (export "memory") 1) (global $g (export "g") (mut i32) (i32.const 3))
    (func (export "_start") (call $b (global.get $g))))`;

  it("are changed as asked", () => {
    const seen: number[] = [];
    const imports = { host: { a_b: (value: number) => seen.push(value) } };
    const { call, exports } = instantiate(text, {}, imports, {
      renameImport: (module, name) => ({ module: "host", name: `${module}_${name}` }),
      renameExport: (name) => (name === "_start" ? "hidden" : name),
    });
    call("hidden");
    expect(seen).toEqual([3]);
    expect(Object.keys(exports)).not.toContain("_start");
  });

  it("may begin with a byte order mark, which is a part of them", () => {
    const { exports } = instantiate(`(module (func (export "f")) (func (export "\\ef\\bb\\bff")))`);
    expect(Object.keys(exports)).toEqual(expect.arrayContaining(["f", "\ufefff"]));
  });

  it("of the module's functions are kept, other custom sections are dropped", () => {
    const original = compileWat(text);
    const section = (name: string) => Uint8Array.of(0, name.length + 1, name.length, ...new TextEncoder().encode(name));
    const bytes = new Uint8Array([...original, ...section("producers"), ...section("name")]);
    const { module, report } = meter(bytes, testLimits);
    expect(report.dropped).toEqual(["producers"]);
    const compiled = new WebAssembly.Module(module);
    expect(WebAssembly.Module.customSections(compiled, "name")).toHaveLength(1);
    expect(WebAssembly.Module.customSections(compiled, "producers")).toHaveLength(0);
  });

  it("are data in the report", () => {
    const { report } = instantiate(text, {}, { a: { b: () => undefined } });
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
    expect(report).toMatchObject({
      functions: 1,
      imports: [{ module: "a", name: "b", kind: "function", type: "(i32) -> ()" }],
      exports: [
        { name: "memory", kind: "memory", type: "pages 1.." },
        { name: "g", kind: "global", type: "mut i32" },
        { name: "_start", kind: "function", type: "() -> ()" },
      ],
      memory: { min: 1, max: null, imported: false },
      features: ["mutable-globals"],
      state: { restorable: true, globals: [0] },
    });
  });
});
