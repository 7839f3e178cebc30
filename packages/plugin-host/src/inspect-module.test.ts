import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { inspectModule, maxModuleBytes } from "./inspect-module.ts";
import { WasmWriter, writeSections, type Section } from "./wasm-binary.ts";

const fixtures = new Uint8Array(await readFile(new URL("../fixtures/fixtures.wasm", import.meta.url)));
const HEADER = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

function importing(items: readonly (readonly [module: string, name: string, kind: readonly number[]])[]): Uint8Array {
  const imports = new WasmWriter();
  imports.u32(items.length);
  for (const [module, name, kind] of items) {
    imports.name(module);
    imports.name(name);
    imports.raw(Uint8Array.from(kind));
  }
  const exports = new WasmWriter();
  exports.u32(1);
  exports.name("run");
  exports.raw(Uint8Array.of(0, 0));
  return moduleOf(
    { id: 1, content: Uint8Array.of(1, 0x60, 0, 0) },
    { id: 2, content: imports.finish() },
    { id: 7, content: exports.finish() },
  );
}

function moduleOf(...sections: Section[]): Uint8Array {
  return writeSections(HEADER, sections);
}

const aFunction = [0, 0];
const aMemory = [2, 0, 1];

describe("inspectModule", () => {
  test("tells what a good module has", async () => {
    const inspection = await inspectModule(fixtures, { handlers: [{ export: "noop" }] });
    expect(inspection).toMatchObject({ ok: true, facts: { sizeBytes: fixtures.length } });
    if (!inspection.ok) return;
    expect(inspection.facts.exports).toContain("noop");
    expect(inspection.facts.imports).toContain("extism:host/env.input_length");
  });

  test.each([
    ["text", new TextEncoder().encode("hello"), /is not WebAssembly/],
    ["nothing", new Uint8Array(0), /is not WebAssembly/],
    ["half a module", fixtures.subarray(0, 5000), /is not valid WebAssembly: /],
    ["too much", new Uint8Array(maxModuleBytes + 1), /16777217 bytes long; the limit is 16777216/],
  ])("refuses %s", async (_what, bytes, reason) => {
    expect(await inspectModule(bytes)).toMatchObject({
      ok: false,
      problems: [{ field: "module", reason: expect.stringMatching(reason) }],
    });
  });

  test("names every bad import with its reason", async () => {
    const module = importing([
      ["wasi_snapshot_preview1", "proc_exit", aFunction],
      ["extism:host/env", "alloc", aFunction],
      ["extism:host/env", "launch", aFunction],
      ["extism:host/user", "query", aFunction],
      ["env", "abort", aFunction],
      ["evil", "memory", aMemory],
    ]);
    const inspection = await inspectModule(module);
    expect(inspection).toMatchObject({
      ok: false,
      problems: [
        { field: 'module.imports["extism:host/env"]["launch"]', reason: expect.stringContaining("Extism host") },
        {
          field: 'module.imports["extism:host/user"]["query"]',
          reason: expect.stringContaining("not a host function"),
        },
        { field: 'module.imports["env"]["abort"]', reason: expect.stringContaining("--use abort") },
        { field: 'module.imports["evil"]["memory"]', reason: "is a memory; only functions can be imported" },
      ],
    });
  });

  test("refuses our own names, whether they come in or go out", async () => {
    const exports = new WasmWriter();
    exports.u32(2);
    for (const name of ["run", "millrace:memory"]) {
      exports.name(name);
      exports.raw(Uint8Array.of(0, 0));
    }
    const types = { id: 1, content: Uint8Array.of(1, 0x60, 0, 0) };
    const code = { id: 10, content: Uint8Array.of(1, 2, 0, 0x0b) };
    const module = moduleOf(types, { id: 3, content: Uint8Array.of(1, 0) }, { id: 7, content: exports.finish() }, code);
    expect(await inspectModule(module)).toMatchObject({ problems: [{ field: 'module.exports["millrace:memory"]' }] });
    expect(await inspectModule(importing([["millrace:host", "alloc", aFunction]]))).toMatchObject({ ok: false });
  });

  test("names a handler's export that is missing", async () => {
    expect(await inspectModule(fixtures, { handlers: [{ export: "noop" }, { export: "memory" }] })).toMatchObject({
      problems: [{ field: "manifest.handlers[1].export", reason: 'the module exports no function "memory"' }],
    });
  });

  test("refuses a module without functions", async () => {
    expect(await inspectModule(moduleOf())).toMatchObject({ problems: [{ field: "module.exports" }] });
  });
});
