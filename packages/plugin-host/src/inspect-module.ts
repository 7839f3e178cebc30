import type { ErrorDetail } from "@millrace/protocol";
import { reservedPrefix } from "./reserved-names.ts";
import { readSections, sectionIds, WasmReader } from "./wasm-binary.ts";

/** The largest module that is taken: a bound on what compiling one may cost. */
export const maxModuleBytes = 16 * 1024 * 1024;

/** Functions of `extism:host/env` that a module may import. */
const extismImports: ReadonlySet<string> = new Set(
  [
    "alloc free length length_unsafe load_u8 load_u64 store_u8 store_u64",
    "input_offset input_length input_load_u8 input_load_u64 output_set error_set error_get",
    "config_get var_get var_set http_request http_status_code http_headers",
    "log_trace log_debug log_info log_warn log_error get_log_level",
  ].flatMap((line) => line.split(" ")),
);

/** Functions of `extism:host/user` that a module may import: none are offered. */
const userImports: ReadonlySet<string> = new Set();

export interface ModuleFacts {
  readonly sizeBytes: number;
  /** Names of the exported functions, without the start-up ones. */
  readonly exports: readonly string[];
  /** `module.name` of every import. */
  readonly imports: readonly string[];
}

export type ModuleInspection =
  | { readonly ok: true; readonly facts: ModuleFacts }
  | { readonly ok: false; readonly problems: readonly ErrorDetail[] };

/**
 * Says whether bytes are a module that this host can run, and if not, every reason why.
 * With `handlers`, each named export must be there as a function.
 */
export async function inspectModule(
  bytes: Uint8Array,
  options: { handlers?: readonly { readonly export: string }[] } = {},
): Promise<ModuleInspection> {
  if (bytes.length > maxModuleBytes) {
    return refuse("module", `is ${bytes.length} bytes long; the limit is ${maxModuleBytes}`);
  }
  const compiled = await compile(bytes);
  if (typeof compiled === "string") return refuse("module", compiled);

  const imports = WebAssembly.Module.imports(compiled);
  const exports = WebAssembly.Module.exports(compiled);
  const functions = exports.filter((item) => item.kind === "function").map((item) => item.name);
  const problems = [
    ...imports.flatMap(importProblems),
    ...exports.flatMap(exportProblems),
    ...memoryProblems(bytes),
    ...(options.handlers ?? []).flatMap((handler, index) => handlerProblems(handler.export, index, functions)),
  ];
  if (functions.length === 0) problems.push({ field: "module.exports", reason: "has no exported function to call" });
  if (problems.length > 0) return { ok: false, problems };
  return {
    ok: true,
    facts: {
      sizeBytes: bytes.length,
      exports: functions.filter((name) => name !== "_initialize" && name !== "_start"),
      imports: imports.map((item) => `${item.module}.${item.name}`),
    },
  };
}

async function compile(bytes: Uint8Array): Promise<WebAssembly.Module | string> {
  const magic = [0x00, 0x61, 0x73, 0x6d];
  if (magic.some((byte, index) => bytes[index] !== byte)) return "is not WebAssembly: it does not start with \\0asm";
  try {
    return await WebAssembly.compile(new Uint8Array(bytes));
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return `is not valid WebAssembly: ${error.message}`;
    throw error;
  }
}

function refuse(field: string, reason: string): ModuleInspection {
  return { ok: false, problems: [{ field, reason }] };
}

const importRule = "imports may come from extism:host/env, extism:host/user and wasi_snapshot_preview1 only";

function importProblems(item: WebAssembly.ModuleImportDescriptor): ErrorDetail[] {
  const field = `module.imports["${item.module}"]["${item.name}"]`;
  if (item.kind !== "function") return [{ field, reason: `is a ${item.kind}; only functions can be imported` }];
  switch (item.module) {
    case "wasi_snapshot_preview1":
      return [];
    case "extism:host/env":
      return extismImports.has(item.name) ? [] : [{ field, reason: "is not a function of the Extism host" }];
    case "extism:host/user":
      return userImports.has(item.name) ? [] : [{ field, reason: "is not a host function that is offered here" }];
    case "env":
      return [{ field, reason: `${importRule} (AssemblyScript's abort goes away with --use abort=<own function>)` }];
    default:
      return [{ field, reason: importRule }];
  }
}

function exportProblems(item: WebAssembly.ModuleExportDescriptor): ErrorDetail[] {
  if (!item.name.startsWith(reservedPrefix)) return [];
  return [{ field: `module.exports["${item.name}"]`, reason: `names that start with ${reservedPrefix} are reserved` }];
}

function handlerProblems(name: string, index: number, functions: readonly string[]): ErrorDetail[] {
  if (functions.includes(name)) return [];
  return [{ field: `manifest.handlers[${index}].export`, reason: `the module exports no function "${name}"` }];
}

/** One ordinary memory: shared, 64-bit and several memories would need limits of their own. */
function memoryProblems(bytes: Uint8Array): ErrorDetail[] {
  const section = readSections(bytes).find(({ id }) => id === sectionIds.memory);
  if (!section) return [];
  const reader = new WasmReader(section.content);
  const count = reader.u32();
  if (count > 1) return [{ field: "module.memory", reason: `${count} memories; one is supported` }];
  const flags = count === 1 ? reader.byte() : 0;
  if (flags > 1) return [{ field: "module.memory", reason: "shared, 64-bit and odd-paged memories are not supported" }];
  return [];
}
