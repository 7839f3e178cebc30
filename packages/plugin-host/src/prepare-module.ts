import type { ErrorDetail } from "@millrace/protocol";
import type { PluginLimits } from "./plugin-limits.ts";
import { findState, type ModuleState } from "./module-state.ts";
import { reservedNames } from "./reserved-names.ts";
import {
  readSections,
  sectionIds,
  UnknownEncoding,
  WasmReader,
  WasmWriter,
  writeSections,
  type Section,
} from "./wasm-binary.ts";

export interface PreparedModule extends ModuleState {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly usesWasi: boolean;
}

/** The module needs more than its limits allow before its first instruction. */
export class LimitsTooSmall extends Error {
  override readonly name = "LimitsTooSmall";
  readonly detail: ErrorDetail;

  constructor(field: string, reason: string) {
    super(`${field}: ${reason}`);
    this.detail = { field, reason };
  }
}

/**
 * Rewrites an inspected module: clamps its memory and tables to the limits, sends its imports to our own functions, takes the
 * start-up exports out of Extism's hands, and exports what must be put back between two jobs. No index moves.
 */
export function prepareModule(module: Uint8Array, limits: PluginLimits): PreparedModule {
  const state = findState(module);
  let usesWasi = false;
  const sections = readSections(module).map(({ id, content }): Section => {
    switch (id) {
      case sectionIds.import: {
        const redirected = redirectImports(content);
        usesWasi = redirected.usesWasi;
        return { id, content: redirected.content };
      }
      case sectionIds.table:
        return { id, content: clampTables(content, limits.tableEntries) };
      case sectionIds.memory:
        return { id, content: clampMemory(content, limits.memoryPages) };
      case sectionIds.export:
        return { id, content: extendExports(content, state) };
      default:
        return { id, content };
    }
  });
  return { ...state, bytes: writeSections(module, sections), usesWasi };
}

function clampMemory(content: Uint8Array, limit: number): Uint8Array {
  const reader = new WasmReader(content);
  if (reader.u32() === 0) return content;
  const { initial, maximum } = reader.limits();
  if (initial > limit) {
    throw new LimitsTooSmall("limits.memoryPages", `the module starts with ${initial} pages; the limit is ${limit}`);
  }
  const writer = new WasmWriter();
  writer.u32(1);
  writer.limits({ initial, maximum: Math.min(maximum ?? limit, limit) });
  return writer.finish();
}

const FUNCREF = 0x70;

function clampTables(content: Uint8Array, limit: number): Uint8Array {
  const reader = new WasmReader(content);
  const writer = new WasmWriter();
  const count = reader.u32();
  writer.u32(count);
  for (let index = 0; index < count; index++) {
    const type = reader.byte();
    if (type !== FUNCREF) throw new UnknownEncoding(`table of type ${type}; only funcref is supported`);
    const { initial, maximum } = reader.limits();
    if (initial > limit) {
      throw new LimitsTooSmall("limits.tableEntries", `table ${index} has ${initial} entries; the limit is ${limit}`);
    }
    writer.byte(type);
    writer.limits({ initial, maximum: Math.min(maximum ?? limit, limit) });
  }
  return writer.finish();
}

/** Imports are functions only: that is what inspectModule lets through. */
function redirectImports(content: Uint8Array): { readonly content: Uint8Array; readonly usesWasi: boolean } {
  const reader = new WasmReader(content);
  const writer = new WasmWriter();
  let usesWasi = false;
  const count = reader.u32();
  writer.u32(count);
  for (let index = 0; index < count; index++) {
    const module = reader.name();
    const name = reader.name();
    usesWasi ||= module === "wasi_snapshot_preview1";
    writer.name(providerOf(module, name));
    writer.name(name);
    writer.byte(reader.byte());
    writer.u32(reader.u32());
  }
  return { content: writer.finish(), usesWasi };
}

/** Functions that Extism itself provides: they reach its host memory and nothing else. */
const extismOwn: ReadonlySet<string> = new Set(
  "free length length_unsafe load_u8 load_u64 store_u8 store_u64".split(" "),
);

function providerOf(module: string, name: string): string {
  if (module === "wasi_snapshot_preview1") return reservedNames.wasi;
  return extismOwn.has(name) ? module : reservedNames.host;
}

const exportKinds = { table: 1, memory: 2, global: 3 } as const;

function extendExports(content: Uint8Array, state: ModuleState): Uint8Array {
  const reader = new WasmReader(content);
  const writer = new WasmWriter();
  const count = reader.u32();
  writer.u32(count + state.globals.length + state.tableCount + (state.hasMemory ? 1 : 0));
  for (let index = 0; index < count; index++) {
    const name = reader.name();
    writer.name(startUpNames.get(name) ?? name);
    writer.byte(reader.byte());
    writer.u32(reader.u32());
  }
  const add = (name: string, kind: number, index: number) => {
    writer.name(name);
    writer.byte(kind);
    writer.u32(index);
  };
  if (state.hasMemory) add(reservedNames.memory, exportKinds.memory, 0);
  for (const index of state.globals) add(reservedNames.global(index), exportKinds.global, index);
  for (let index = 0; index < state.tableCount; index++) add(reservedNames.table(index), exportKinds.table, index);
  return writer.finish();
}

const startUpNames = new Map<string, string>([
  ["_initialize", reservedNames.initialize],
  ["_start", reservedNames.start],
]);
