import type { Capabilities } from "./host-calls.ts";
import { reservedNames } from "./reserved-names.ts";

export const extismModule = "extism:host/env";
export const wasiModule = "wasi_snapshot_preview1";

/** Functions that Extism itself provides: they reach its host memory and nothing else. */
export const extismOwn: ReadonlySet<string> = new Set(
  "free length length_unsafe load_u8 load_u64 store_u8 store_u64".split(" "),
);

const names = (...lines: readonly string[]): ReadonlySet<string> => new Set(lines.flatMap((line) => line.split(" ")));

/** Ours: each function with its type. All i64 but a time to live are addresses in Extism's host memory. */
export const millraceImports: ReadonlyMap<string, Readonly<Record<string, string>>> = new Map([
  ["millrace:host/job", { context: "() -> (i64)" }],
  ["millrace:host/log", { write: "(i32, i64) -> ()" }],
  ["millrace:host/progress", { report: "(f64, i64) -> ()" }],
  ["millrace:host/error", { last: "() -> (i64)" }],
  ["millrace:host/http", { request: "(i64, i64) -> (i64)", last_body: "() -> (i64)" }],
  [
    "millrace:host/kv",
    {
      get: "(i64) -> (i64)",
      set: "(i64, i64, i64) -> (i32)",
      delete: "(i64) -> (i32)",
      list: "(i64, i32) -> (i64)",
    },
  ],
  ["millrace:host/secrets", { get: "(i64) -> (i64)" }],
  ["millrace:host/events", { publish: "(i64, i64) -> (i64)" }],
  ["millrace:host/jobs", { submit: "(i64, i64) -> (i64)" }],
]);

/** What a module may import, by the module name of the import. */
export const knownImports: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ...[...millraceImports].map(([module, types]) => [module, new Set(Object.keys(types))] as const),
  [
    extismModule,
    names(
      "alloc free length length_unsafe load_u8 load_u64 store_u8 store_u64",
      "input_offset input_length input_load_u8 input_load_u64 output_set error_set error_get",
      "config_get var_get var_set http_request http_status_code http_headers",
      "log_trace log_debug log_info log_warn log_error get_log_level",
    ),
  ],
  [
    wasiModule,
    names(
      "args_get args_sizes_get environ_get environ_sizes_get clock_res_get clock_time_get random_get",
      "fd_write fd_read fd_close fd_seek fd_fdstat_get fd_fdstat_set_flags fd_prestat_get fd_prestat_dir_name",
      "poll_oneoff sched_yield proc_exit",
    ),
  ],
]);

export type Capability = "http" | "kv" | "secrets" | "events" | "jobs";

const capabilities: ReadonlyMap<string, Capability> = new Map([
  [reservedNames.extism, "http"],
  ["millrace:host/http", "http"],
  ["millrace:host/kv", "kv"],
  ["millrace:host/secrets", "secrets"],
  ["millrace:host/events", "events"],
  ["millrace:host/jobs", "jobs"],
]);

/** @returns the capability that the functions of a module take that leave the sandbox; undefined where none does */
export function capabilityOf(module: string): Capability | undefined {
  return capabilities.get(module);
}

/** Whether a call of the function waits for the worker, where its capability is granted. */
export function isAsking(module: string, name: string): boolean {
  if (module === reservedNames.extism) return name === "http_request";
  return capabilities.has(module) && name !== "last_body";
}

export function hasCapability(granted: Capabilities, capability: Capability): boolean {
  return capability === "kv" ? granted.kvBytes > 0 : granted[capability].length > 0;
}
