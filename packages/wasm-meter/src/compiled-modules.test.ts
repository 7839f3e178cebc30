import { globSync, readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { Gauge } from "./gauge.ts";
import { meter } from "./meter.ts";

const root = path.resolve(import.meta.dirname, "../../..");
const limits = { memoryPages: 1000, tableEntries: 10_000 };

/** Of WASI, what Emscripten's library asks for and these workloads never call. */
const imports = {
  wasi_snapshot_preview1: {
    proc_exit: (code: number) => {
      throw new Error(`exit with ${code}`);
    },
  },
};

function read(file: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(path.join(root, file)));
}

describe("what compilers make", () => {
  const workloads = {
    c: ["sha256", "vm", "chase", "regex", "compression"],
    rust: ["sort", "json", "matrix", "words"],
    assemblyscript: ["mandelbrot", "recursion", "bodies", "sieve"],
    emscripten: ["throwing", "containers", "dispatching"],
    zig: ["counting", "digits", "ordering"],
  };
  const all = Object.entries(workloads).flatMap(([language, names]) => names.map((name) => [language, name] as const));

  it.each(all)("%s: %s gives the same result, and stops without fuel", (language, name) => {
    const bytes = read(`test/bench/wasm/${language}.wasm`);
    const { module, report } = meter(bytes, limits);
    const plain = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports).exports;
    const metered = new WebAssembly.Instance(new WebAssembly.Module(module), imports).exports;
    const gauge = new Gauge(metered, report.limits);
    gauge.begin(1e12);
    if (report.start !== null) call(metered, report.start);
    for (const exports of [plain, metered]) if ("_initialize" in exports) call(exports, "_initialize");
    expect(call(metered, name, 1)).toBe(call(plain, name, 1));
    gauge.begin(1000);
    expect(() => call(metered, name, 1e6)).toThrow(WebAssembly.RuntimeError);
    expect(gauge.breachOf(undefined)?.code).toBe("OUT_OF_FUEL");
    expect(gauge.fuelUsed).toBeLessThan(10_000);
  });
});

it.each(globSync(["plugins/*/*.wasm", "packages/*/fixtures/*.wasm"], { cwd: root }))("%s is metered", (file) => {
  const { module, report } = meter(read(file), limits, { exportState: true });
  expect(WebAssembly.Module.imports(new WebAssembly.Module(module))).toHaveLength(report.imports.length);
  expect(report.codeBytesAfter / report.codeBytes).toBeLessThan(2);
});

function call(exports: WebAssembly.Exports, name: string, ...args: number[]): unknown {
  const target = exports[name];
  if (typeof target !== "function") throw new TypeError(`no function ${name}`);
  return target(...args);
}
