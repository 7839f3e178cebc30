import { describe, expect, it } from "vitest";
import { inspect, meter } from "./meter.ts";
import type { MeterLimits } from "./meter-limits.ts";
import { ModuleRefused, type RefusalCode } from "./module-refused.ts";
import { compileWat } from "./testing/compile-wat.ts";
import { errorOf, testLimits } from "./testing/metered-instance.ts";

function refusalOf(module: Uint8Array, limits: Partial<MeterLimits> = {}): ModuleRefused {
  const error = errorOf(() => meter(module, { ...testLimits, ...limits }));
  if (!(error instanceof ModuleRefused)) throw error;
  expect(error.offset).toBeLessThanOrEqual(module.length);
  return error;
}

const header = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const binary = (...bytes: number[]) => Uint8Array.of(...header, ...bytes);
/** A module of one function () -> () with this body, behind the sections given. */
const withBody = (before: number[], body: number[]) =>
  binary(1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, ...before, 10, body.length + 4, 1, body.length + 2, 0, ...body, 0x0b);

describe("is refused as unsupported", () => {
  const oneMemory = [5, 3, 1, 0, 1];
  const twoMemories = [5, 5, 2, 0, 1, 0, 1];
  it.each<[string, Uint8Array, string, number, RegExp]>([
    ["a struct type", binary(1, 3, 1, 0x5f, 0), "type", 11, /garbage/],
    ["an array type", binary(1, 4, 1, 0x5e, 0x7f, 0), "type", 11, /garbage/],
    ["a recursive type group", binary(1, 6, 1, 0x4e, 1, 0x60, 0, 0), "type", 11, /garbage/],
    ["a shared memory", compileWat("(module (memory 1 2 shared))"), "memory", 11, /shared memory/],
    ["a 64-bit memory", compileWat("(module (memory i64 1 2))"), "memory", 11, /64-bit/],
    ["a second memory", binary(...twoMemories), "memory", 13, /second memory/],
    ["an atomic instruction", withBody([5, 4, 1, 3, 1, 1], [0xfe, 3, 0]), "memory", 21, /shared/],
    ["an atomic fence", withBody([], [0xfe, 3, 0]), "code", 23, /atomic/],
    [
      "relaxed SIMD",
      compileWat(`(module (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))`),
      "code",
      28,
      /relaxed/,
    ],
    ["a typed reference", withBody([], [0xd0, 0x6e, 0x1a]), "code", 24, /garbage/],
    ["a struct", withBody(oneMemory, [0x41, 0, 0xfb, 0x1c, 0x1a]), "code", 30, /garbage/],
  ])("%s", (_, module, section, offset, reason) => {
    const { code, ...refused } = refusalOf(module);
    expect({ code, section: refused.section, offset: refused.offset }).toEqual({
      code: "UNSUPPORTED",
      section,
      offset,
    });
    expect(refused.reason).toMatch(reason);
    expect(() => inspect(module)).toThrow(ModuleRefused);
  });
});

it.each([
  ["a table of exceptions", "(module (table 1 exnref))", "table"],
  ["an exception that holds an exception", "(module (tag (param exnref)))", "tag"],
  ["a global that holds an exception", "(module (global (mut exnref) (ref.null exn)))", "global"],
  ["a function that takes or returns exceptions", "(module (func (result exnref) (ref.null exn)))", "function"],
  ["a function that takes or returns exceptions", `(module (import "a" "b" (func (param exnref))))`, "import"],
])("is refused for what it would keep on the engine's heap: %s", (reason, text, section) => {
  const refused = refusalOf(compileWat(text));
  expect(refused).toMatchObject({ code: "UNSUPPORTED", section });
  expect(refused.reason).toContain(reason);
});

describe("is refused for its size", () => {
  const two = `(module (import "a" "b" (func)) (import "a" "c" (func)) (func (export "x") (local i32 i64) nop nop nop) (func (export "y") (param i32)
    (block (block (br_table 0 1 0 (local.get 0))))) (global i32 (i32.const 1)) (global i32 (i32.const 1)) (tag) (tag)
    (table 1 funcref) (table 1 funcref) (memory 1) (elem (i32.const 0) 0 1) (elem (i32.const 0)) (data "a") (data "b"))`;
  const bounds: (keyof MeterLimits)[] = [
    ...([
      "functionBytes",
      "functions",
      "locals",
      "nesting",
      "meteredPlaces",
      "branchTargets",
      "types",
      "imports",
    ] as const),
    ...(["exports", "tables", "globals", "tags", "elementSegments", "segmentEntries", "dataSegments"] as const),
  ];
  it.each(bounds)("by the bound on %s", (bound) => {
    const refused = refusalOf(compileWat(two), { [bound]: 1 });
    expect(refused.code).toBe<RefusalCode>("TOO_LARGE");
    expect(refused.reason).toMatch(/bound is|er than|more than/);
    expect(refused.offset).toBeGreaterThan(8);
  });

  it("as a whole, before anything is read", () => {
    expect(refusalOf(new Uint8Array(101), { moduleBytes: 100 })).toMatchObject({ code: "TOO_LARGE", offset: 0 });
  });

  it("with too many values in an exception", () => {
    const refused = refusalOf(compileWat(`(module (tag (param ${"i32 ".repeat(9)})))`));
    expect(refused).toMatchObject({ code: "TOO_LARGE", section: "tag" });
  });

  it("with too many custom sections", () => {
    const module = binary(...Array.from({ length: 3 }).flatMap(() => [0, 1, 0]));
    expect(refusalOf(module, { customSections: 2 })).toMatchObject({ code: "TOO_LARGE", offset: 14 });
  });

  it("with too many values in a type", () => {
    const many = compileWat(`(module (type (func (param i32 i32))))`);
    expect(refusalOf(many, { typeValues: 1 })).toMatchObject({ code: "TOO_LARGE", section: "type" });
  });
});

describe("is refused", () => {
  it("when it starts with more than it may have", () => {
    expect(refusalOf(compileWat("(module (memory 11))"))).toMatchObject({
      code: "LIMIT",
      section: "memory",
      offset: 11,
    });
    expect(refusalOf(compileWat("(module (table 101 funcref))"))).toMatchObject({ code: "LIMIT", section: "table" });
  });

  it("when it brings a reserved name", () => {
    const names = [
      `(import "millrace.meter:x" "f" (func))`,
      `(import "x" "millrace.meter:f" (func))`,
      `(func (export "millrace.meter:fuel"))`,
    ];
    for (const name of names) expect(refusalOf(compileWat(`(module ${name})`)).code).toBe<RefusalCode>("RESERVED_NAME");
  });

  it("when the engine refuses it, with the engine's place", () => {
    expect(refusalOf(withBody([], [0x6a]))).toMatchObject({ code: "INVALID", offset: 23 });
    expect(refusalOf(Uint8Array.of(1, 2, 3))).toMatchObject({ code: "INVALID", section: "module" });
    expect(refusalOf(new Uint8Array(0))).toMatchObject({ code: "INVALID" });
  });

  it("when it would reach the globals that are added", () => {
    // global.set 0, in a module without globals, is its own fuel once there is one.
    const forger = withBody([], [0x42, 0, 0x24, 0]);
    expect(refusalOf(forger).code).toBe<RefusalCode>("INVALID");
  });

  it("when it would call the functions that are added", () => {
    const call = withBody([5, 3, 1, 0, 1], [0x41, 0, 0x40, 0, 0x1a, 0x10, 1]);
    expect(refusalOf(call).code).toBe<RefusalCode>("INVALID");
  });
});
