import { describe, expect, test } from "vitest";
import { loadPlugin } from "./load-plugin.ts";
import type { PluginLimits } from "./plugin-limits.ts";
import { bytesOf, readFixtures, wat } from "./testing.ts";

const fixtures = await readFixtures();

/** A module whose `run` has this body; host functions of Extism and WASI are at hand. */
const running = (body: string, further = ""): Uint8Array =>
  wat(`(module
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (import "extism:host/env" "log_info" (func $log (param i64)))
    (import "extism:host/env" "output_set" (func $output (param i64 i64)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory 1) ${further}
    (func (export "run") (result i32) ${body} (i32.const 0)))`);

interface Bomb {
  readonly name: string;
  readonly module: Uint8Array;
  readonly export?: string;
  readonly input?: string;
  readonly limits?: Partial<PluginLimits>;
  readonly code: string;
  readonly breach?: object;
}

const bombs: readonly Bomb[] = [
  {
    name: "a loop",
    module: running("(loop $l (br $l))"),
    limits: { fuel: 100_000 },
    code: "OUT_OF_FUEL",
    breach: { resource: "fuel", figure: expect.closeTo(100_000, -2), limit: 100_000, unit: "units" },
  },
  {
    name: "a loop in the start section",
    module: running("", "(func $start (loop $l (br $l))) (start $start)"),
    limits: { fuel: 100_000 },
    code: "OUT_OF_FUEL",
    breach: { resource: "fuel", limit: 100_000 },
  },
  {
    name: "a fill of much memory, again and again",
    module: running("(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br $l))"),
    limits: { fuel: 1_000_000 },
    code: "OUT_OF_FUEL",
    breach: { resource: "fuel" },
  },
  {
    name: "recursion",
    module: running("(call $deep)", "(func $deep (call $deep) (call $deep))"),
    limits: { callDepth: 100 },
    code: "TRAPPED",
    breach: { resource: "call_depth", figure: 101, limit: 100, unit: "calls" },
  },
  {
    name: "memory",
    module: running("(if (i32.lt_s (memory.grow (i32.const 30)) (i32.const 0)) (then unreachable))"),
    limits: { memoryPages: 20 },
    code: "OUT_OF_MEMORY",
    breach: { resource: "memory", figure: 31, limit: 20, unit: "pages" },
  },
  {
    name: "tables",
    module: running(
      "(if (i32.lt_s (table.grow 0 (ref.null func) (i32.const 1000)) (i32.const 0)) (then unreachable))",
      "(table 1 funcref)",
    ),
    limits: { tableEntries: 100 },
    code: "OUT_OF_MEMORY",
    breach: { resource: "table", figure: 1001, limit: 100, unit: "entries" },
  },
  {
    name: "host memory",
    module: running("(loop $l (drop (call $alloc (i64.const 1000))) (br $l))"),
    limits: { hostBytes: 10_500 },
    code: "OUT_OF_MEMORY",
    breach: { resource: "host_memory", figure: 11_000, limit: 10_500, unit: "bytes" },
  },
  {
    name: "blocks of host memory",
    module: running("(loop $l (drop (call $alloc (i64.const 0))) (br $l))"),
    code: "OUT_OF_MEMORY",
    breach: { resource: "host_memory", figure: 65_001, limit: 65_000, unit: "entries" },
  },
  {
    name: "a flood of logs",
    module: running(
      "(local $a i64) (local.set $a (call $alloc (i64.const 10))) (loop $l (call $log (local.get $a)) (br $l))",
    ),
    code: "HOST_DENIED",
    breach: { resource: "logs", figure: 10_257, limit: 10_256, unit: "entries" },
  },
  {
    name: "output",
    module: running("(call $output (call $alloc (i64.const 100)) (i64.const 100))"),
    limits: { outputBytes: 99 },
    code: "OUTPUT_TOO_LARGE",
    breach: { resource: "output", figure: 100, limit: 99, unit: "bytes" },
  },
  {
    name: "variables",
    module: fixtures,
    export: "remember",
    input: "5000",
    limits: { varBytes: 4096 },
    code: "OUT_OF_MEMORY",
    breach: { resource: "variables", figure: 5006, limit: 4096, unit: "bytes" },
  },
  {
    name: "input",
    module: running(""),
    input: "12345",
    limits: { inputBytes: 4 },
    code: "HOST_DENIED",
    breach: { resource: "input", figure: 5, limit: 4, unit: "bytes" },
  },
  {
    name: "time",
    module: fixtures,
    export: "busy",
    input: "40",
    limits: { timeoutMs: 20 },
    code: "TIMED_OUT",
    breach: { resource: "time", limit: 20, unit: "ms" },
  },
  { name: "exit", module: running("(call $exit (i32.const 3))"), code: "TRAPPED" },
  { name: "an address of nothing", module: running("(call $log (i64.const -1))"), code: "TRAPPED" },
];

describe("a call that takes too much", () => {
  test.each(bombs)("of $name ends as $code, with figure and limit", async (bomb) => {
    const plugin = await loadPlugin(bomb.module, { limits: bomb.limits ?? {} });
    const result = await plugin.call(bomb.export ?? "run", bytesOf(bomb.input ?? ""));
    expect(result).toMatchObject({ ok: false, code: bomb.code, ...(bomb.breach ? { breach: bomb.breach } : {}) });
    if (!bomb.breach) expect(result).not.toHaveProperty("breach");
  });

  test("is found out at once when it runs out of fuel", async () => {
    const plugin = await loadPlugin(running("(loop $l (br $l))"), { limits: { fuel: 1000 } });
    await plugin.call("run", bytesOf(""));
    const startedAt = performance.now();
    for (let call = 0; call < 20; call++) await plugin.call("run", bytesOf(""));
    // Instance and all; the loaded machine of a test run has its pauses.
    expect((performance.now() - startedAt) / 20).toBeLessThan(20);
  });

  test("at start-up is told as such, with what it took", async () => {
    const module = running("", "(func $start (loop $l (br $l))) (start $start)");
    const result = await (await loadPlugin(module, { limits: { fuel: 1000 } })).call("run", bytesOf(""));
    expect(result).toMatchObject({ fuel: 1001, message: "at start-up: used up its 1000 units of fuel" });
    expect(result.executedUs).toBeGreaterThan(0);
  });

  test("takes the same fuel each time, on a fresh instance and on one that was put back", async () => {
    const plugin = await loadPlugin(fixtures);
    const fuels = new Set<number>();
    for (let call = 0; call < 5; call++) fuels.add((await plugin.call("noop", bytesOf("input"))).fuel);
    fuels.add((await (await loadPlugin(fixtures)).call("noop", bytesOf("input"))).fuel);
    expect([...fuels]).toEqual([expect.any(Number)]);
  });
});

test("a result tells the most memory that the call had", async () => {
  const plugin = await loadPlugin(running("(drop (memory.grow (i32.const 6)))"), { limits: { memoryPages: 20 } });
  expect(await plugin.call("run", bytesOf(""))).toMatchObject({ ok: true, memoryBytes: 7 * 65_536 });
});

describe("a module that catches what host functions throw", () => {
  test("cannot go on after a breach", async () => {
    const module = catching();
    const plugin = await loadPlugin(module, { limits: { hostBytes: 100 } });
    expect(await plugin.call("run", bytesOf(""))).toMatchObject({
      code: "OUT_OF_MEMORY",
      breach: { resource: "host_memory" },
    });
  });
});

/** In a loop without end: allocates, and catches the refusal. */
function catching(): Uint8Array<ArrayBuffer> {
  return wat(`(module
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (func (export "run") (result i32)
      (loop $again
        (try (do (drop (call $alloc (i64.const 1000)))) (catch_all))
        (br $again))
      (i32.const 0)))`);
}
