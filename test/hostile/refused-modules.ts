import { assemble } from "./assemble.ts";
import { body, moduleOf, oneFunction, exportRun, section, vector, type Bytes } from "./binary-module.ts";

const run = `(func (export "run"))`;
const text = (fields: string) => (): Uint8Array => assemble("refused", `(module ${fields})`);

const ascii = (name: string): Bytes => [name.length, ...new TextEncoder().encode(name)];
const end = 0x0b;
const drop = 0x1a;
/** One function `run` whose type comes after those of a newer feature. */
const withTypes = (types: readonly Bytes[], code: Bytes) => (): Uint8Array =>
  moduleOf(
    [section.type, vector([...types, [0x60, 0, 0]])],
    [section.function, vector([[types.length]])],
    exportRun(),
    [section.code, Uint8Array.from([1, ...body([], code)])],
  );

/** Modules that must not run at all, and what is said of each. */
export const refusedModules: Readonly<Record<string, { readonly bytes: () => Uint8Array; readonly why: RegExp }>> = {
  "import-unknown-module": {
    bytes: text(`(import "env" "system" (func (param i32))) ${run}`),
    why: /imports may come from/,
  },
  "import-wasi-file": {
    bytes: text(
      `(import "wasi_snapshot_preview1" "path_open"
        (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))) ${run}`,
    ),
    why: /files, sockets/,
  },
  "import-wasi-socket": {
    bytes: text(`(import "wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32))) ${run}`),
    why: /files, sockets/,
  },
  "import-unknown-function": {
    bytes: text(`(import "millrace:host/kv" "drop_all" (func)) ${run}`),
    why: /is not offered/,
  },
  "import-of-wrong-type": {
    bytes: text(`(import "millrace:host/kv" "get" (func (param i32) (result i32))) ${run}`),
    why: /the function is \(i64\) -> \(i64\)/,
  },
  "import-memory": {
    bytes: text(`(import "env" "memory" (memory 1)) ${run}`),
    why: /only functions can be imported|memor/,
  },
  "import-table": { bytes: text(`(import "env" "table" (table 1 funcref)) ${run}`), why: /only functions|table/ },
  "import-global": {
    bytes: text(`(import "extism:host/env" "alloc" (global (mut i64))) ${run}`),
    why: /only functions can be imported|global/,
  },
  "import-js-strings": {
    bytes: text(`(import "wasm:js-string" "length" (func (param externref) (result i32))) ${run}`),
    why: /imports may come from|string/,
  },
  // What the host itself renames imports to.
  "import-hosts-own": {
    bytes: text(`(import "millrace:extism" "alloc" (func (param i64))) ${run}`),
    why: /import|reserved/,
  },
  "import-fuel": {
    bytes: text(`(import "millrace.meter:fuel" "x" (global (mut i64))) ${run}`),
    why: /reserved|import/,
  },
  "export-fuel": {
    bytes: text(`(global (export "millrace.meter:fuel") (mut i64) (i64.const 9223372036854775807)) ${run}`),
    why: /reserved/,
  },
  "export-depth": {
    bytes: text(`(global (export "millrace.meter:depth") (mut i64) (i64.const 1000000000)) ${run}`),
    why: /reserved/,
  },
  "export-start": { bytes: text(`${run} (func (export "millrace.meter:start"))`), why: /reserved/ },
  "export-hosts-own": { bytes: text(`${run} (func (export "millrace:_start"))`), why: /reserved/ },
  "no-exports": { bytes: text(`(func)`), why: /no exported function/ },

  "memory-declared": { bytes: text(`(memory 65536) ${run}`), why: /memory/ },
  "table-declared": { bytes: text(`(table 10000000 funcref) ${run}`), why: /table/ },
  "tables-declared": { bytes: text(`${"(table 60000 funcref)".repeat(40)} ${run}`), why: /table/ },

  "threads-memory": { bytes: text(`(memory 1 2 shared) ${run}`), why: /memory section at byte \d+.*shared/ },
  "threads-atomics": {
    bytes: text(`(memory 1) (func (export "run") (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))`),
    why: /code section at byte \d+/,
  },
  "threads-wait": {
    bytes: text(`(func (export "run") (atomic.fence))`),
    why: /code section at byte \d+/,
  },
  memory64: { bytes: text(`(memory i64 1) ${run}`), why: /memory section at byte \d+/ },
  "multi-memory": { bytes: text(`(memory 1) (memory 1) ${run}`), why: /memory section at byte \d+/ },
  "relaxed-simd": {
    bytes: text(`(func (export "run") (drop (i8x16.relaxed_swizzle (v128.const i64x2 0 0) (v128.const i64x2 0 0))))`),
    why: /code section at byte \d+/,
  },
  // (type (array (mut i64))): an array of two gigabytes is one instruction.
  "gc-array": { bytes: withTypes([[0x5e, 0x7e, 1]], [0x41, 0, 0xfb, 7, 0, drop]), why: /section at byte \d+/ },
  "gc-struct": { bytes: withTypes([[0x5f, 1, 0x7f, 1]], [0xfb, 1, 0, drop]), why: /section at byte \d+/ },
  "gc-recursive-types": {
    bytes: withTypes([[0x4e, 1, 0x5f, 1, 0x63, 0, 1]], []),
    why: /section at byte \d+/,
  },
  "gc-i31": { bytes: withTypes([], [0x41, 7, 0xfb, 0x1c, drop]), why: /section at byte \d+/ },
  "typed-function-reference": { bytes: withTypes([], [0xd0, 0, drop]), why: /section at byte \d+/ },
  "stack-switching": { bytes: withTypes([[0x5d, 0]], []), why: /section at byte \d+|not valid/ },
  "custom-page-size": {
    bytes: () => oneFunction(body([], []), [section.memory, [1, 0x08, 1, 0]]),
    why: /section at byte \d+|not valid/,
  },
  "unknown-opcode": { bytes: withTypes([], [0x27]), why: /not valid|section at byte \d+/ },
  "unknown-section": { bytes: () => moduleOf([14, [0]], [section.type, vector([[0x60, 0, 0]])]), why: /not valid/ },
  "not-a-module": { bytes: () => new TextEncoder().encode("#!/bin/sh\nexit 0\n"), why: /not valid/ },
  empty: { bytes: () => new Uint8Array(0), why: /not valid|empty/ },
  // It would become valid by the global that metering appends, and fill its own fuel.
  "global-beyond-its-own": {
    bytes: () =>
      oneFunction(body([], [0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0x24, 0]), [
        section.global,
        vector([]),
      ]),
    why: /not valid/,
  },
  "type-confusion": {
    bytes: () =>
      moduleOf(
        [section.type, vector([[0x60, 0, 0]])],
        [section.function, vector([[0]])],
        [section.export, vector([[...ascii("run"), 0, 0]])],
        [section.code, [1, 5, 0, 0x42, 0, 0x6a, end]],
      ),
    why: /not valid/,
  },
};
