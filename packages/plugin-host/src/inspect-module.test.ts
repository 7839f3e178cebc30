import { describe, expect, test } from "vitest";
import { inspectModule, maxModuleBytes } from "./inspect-module.ts";
import { readFixtures, wat } from "./testing.ts";

const fixtures = await readFixtures();

const importing = (...imports: readonly string[]): Uint8Array =>
  wat(`(module ${imports.join(" ")} (func (export "run") (result i32) (i32.const 0)))`);

describe("inspectModule", () => {
  test("tells what a good module has", () => {
    const inspection = inspectModule(fixtures, { handlers: [{ export: "noop" }] });
    expect(inspection).toMatchObject({ ok: true, facts: { sizeBytes: fixtures.length } });
    if (!inspection.ok) return;
    expect(inspection.facts.exports).toContain("noop");
    expect(inspection.facts.imports).toContain("extism:host/env.input_length");
  });

  test.each([
    ["text", new TextEncoder().encode("hello"), /is not valid WebAssembly: /],
    ["nothing", new Uint8Array(0), /is not valid WebAssembly: /],
    ["half a module", fixtures.subarray(0, 5000), /is not valid WebAssembly: /],
    ["too much", new Uint8Array(maxModuleBytes + 1), /16777217 bytes; the bound is 16777216/],
  ])("refuses %s", (_what, bytes, reason) => {
    expect(inspectModule(bytes)).toMatchObject({
      ok: false,
      problems: [{ field: "module", reason: expect.stringMatching(reason) }],
    });
  });

  test("names every bad import with its reason", () => {
    const module = importing(
      `(import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))`,
      `(import "wasi_snapshot_preview1" "path_open" (func))`,
      `(import "extism:host/env" "alloc" (func (param i64) (result i64)))`,
      `(import "extism:host/env" "launch" (func))`,
      `(import "extism:host/user" "query" (func))`,
      `(import "env" "abort" (func))`,
      `(import "env" "console.log" (func))`,
      `(import "env" "Date.now" (func))`,
      `(import "millrace:host/kv" "drop" (func))`,
      `(import "millrace:extism" "alloc" (func))`,
      `(import "evil" "memory" (memory 1))`,
    );
    const at = (from: string, name: string) => `module.imports["${from}"]["${name}"]`;
    expect(inspectModule(module)).toMatchObject({
      ok: false,
      problems: [
        { field: at("wasi_snapshot_preview1", "path_open"), reason: expect.stringContaining("files") },
        { field: at("extism:host/env", "launch"), reason: expect.stringContaining("alloc, free") },
        { field: at("extism:host/user", "query"), reason: expect.stringContaining("only") },
        { field: at("env", "abort"), reason: expect.stringContaining("--use abort") },
        { field: at("env", "console.log"), reason: expect.stringContaining("Log of the SDK") },
        { field: at("env", "Date.now"), reason: expect.stringContaining("clock_time_get") },
        { field: at("millrace:host/kv", "drop"), reason: expect.stringContaining("get, set, delete, list") },
        { field: at("millrace:extism", "alloc"), reason: expect.stringContaining("only") },
        { field: at("evil", "memory"), reason: "is a memory; only functions can be imported" },
      ],
    });
  });

  test("names an import whose type is not the function's", () => {
    expect(inspectModule(importing(`(import "millrace:host/kv" "get" (func))`))).toMatchObject({
      problems: [{ reason: "is () -> (); the function is (i64) -> (i64)" }],
    });
  });

  test("refuses our own names among exports", () => {
    for (const name of ["millrace:_start", "millrace.meter:fuel"]) {
      const module = wat(`(module (func (export "run")) (func (export "${name}")))`);
      expect(inspectModule(module)).toMatchObject({ ok: false });
    }
  });

  test("names an export of the manifest that is missing, or no handler", () => {
    const module = wat(
      `(module (func (export "run")) (func (export "odd") (param i32)) (func (export "on_enable") (param i64)))`,
    );
    const manifest = {
      handlers: [{ export: "run" }, { export: "odd" }],
      events: [{ export: "on_event" }],
      schedules: [{ export: "tick" }],
      interceptors: [{ export: "guard" }],
      endpoints: [{ export: "page" }],
    };
    expect(inspectModule(module, manifest)).toMatchObject({
      problems: [
        { field: "manifest.handlers[1].export", reason: expect.stringContaining("(i32) -> ()") },
        { field: "manifest.events[0].export", reason: 'the module exports no function "on_event"' },
        { field: "manifest.schedules[0].export" },
        { field: "manifest.interceptors[0].export" },
        { field: "manifest.endpoints[0].export" },
        { field: 'module.exports["on_enable"]' },
      ],
    });
  });

  test("names imports of capabilities that the manifest does not declare", () => {
    const module = importing(
      `(import "millrace:host/kv" "get" (func (param i64) (result i64)))`,
      `(import "millrace:host/secrets" "get" (func (param i64) (result i64)))`,
    );
    expect(inspectModule(module, { capabilities: { secrets: ["token"] } })).toMatchObject({
      problems: [{ field: 'module.imports["millrace:host/kv"]["get"]', reason: expect.stringContaining("kvBytes") }],
    });
  });

  test("refuses a module without functions", () => {
    expect(inspectModule(wat("(module)"))).toMatchObject({ problems: [{ field: "module.exports" }] });
  });
});
