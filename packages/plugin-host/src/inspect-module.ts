import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ErrorDetail, PluginManifestSchema } from "@millrace/protocol";
import { defaultBounds, inspect, ModuleRefused, type ModuleReport } from "@millrace/wasm-meter";
import { capabilitiesOf } from "./capabilities.ts";
import { capabilityOf, hasCapability, knownImports, millraceImports, wasiModule } from "./known-imports.ts";
import { hookExports, manifestExports } from "./manifest-exports.ts";
import { reservedPrefix } from "./reserved-names.ts";

/** The largest module that is taken: a bound on what compiling one may cost. */
export const maxModuleBytes: number = defaultBounds.moduleBytes;

export interface ModuleFacts {
  readonly sizeBytes: number;
  /** Names of the exported functions, without the start-up ones. */
  readonly exports: readonly string[];
  /** `module.name` of every import. */
  readonly imports: readonly string[];
  readonly report: ModuleReport;
}

export type ModuleInspection =
  | { readonly ok: true; readonly facts: ModuleFacts }
  | { readonly ok: false; readonly problems: readonly ErrorDetail[] };

type Manifest = MessageInitShape<typeof PluginManifestSchema>;

/**
 * Says whether bytes are a module that this host can run, and if not, every reason why. With a manifest, each export that it
 * names must be there as a handler, and each import must be of a capability that it declares.
 */
export function inspectModule(bytes: Uint8Array, manifest?: Manifest): ModuleInspection {
  let report: ModuleReport;
  try {
    report = inspect(bytes);
  } catch (error) {
    if (!(error instanceof ModuleRefused)) throw error;
    return { ok: false, problems: [refusalOf(error)] };
  }
  const problems = [...moduleProblems(report), ...(manifest === undefined ? [] : manifestProblems(report, manifest))];
  if (problems.length > 0) return { ok: false, problems };
  return {
    ok: true,
    facts: {
      sizeBytes: bytes.length,
      exports: functionsOf(report).map(({ name }) => name),
      imports: report.imports.map((item) => `${item.module}.${item.name}`),
      report,
    },
  };
}

export function refusalOf({ code, message, reason }: ModuleRefused): ErrorDetail {
  if (code === "LIMIT") {
    return { field: reason.startsWith("memory") ? "limits.memoryPages" : "limits.tableEntries", reason };
  }
  return { field: "module", reason: code === "INVALID" ? `is not valid WebAssembly: ${reason}` : message };
}

/** Whatever keeps this host from running a module that could be metered. */
export function moduleProblems(report: ModuleReport): ErrorDetail[] {
  const problems = [...report.imports.flatMap(importProblems), ...report.exports.flatMap(exportProblems)];
  if (functionsOf(report).length === 0) {
    problems.push({ field: "module.exports", reason: "has no exported function to call" });
  }
  return problems;
}

const startUp: ReadonlySet<string> = new Set(["_initialize", "_start", "hs_init"]);

function functionsOf(report: ModuleReport): ModuleReport["exports"] {
  return report.exports.filter(({ kind, name }) => kind === "function" && !startUp.has(name));
}

const importRule = `imports may come from ${[...knownImports.keys()].join(", ")} only`;

const logHint = "AssemblyScript's console and trace: write to the log with Log of the SDK";

/** What AssemblyScript's own library asks of `env`, and what to do about it. */
const assemblyScriptHints: ReadonlyMap<string, string> = new Map([
  ["abort", "AssemblyScript's abort goes away with --use abort=<own function>"],
  ["seed", `AssemblyScript's Math.random: take random_get of ${wasiModule}`],
  ["Date.now", `AssemblyScript's Date.now: take clock_time_get of ${wasiModule}`],
  ["console", logHint],
  ["trace", logHint],
]);

type ImportReport = ModuleReport["imports"][number];

function importProblems({ module, name, kind, type }: ImportReport): ErrorDetail[] {
  const field = fieldOf(module, name);
  if (kind !== "function") return [{ field, reason: `is a ${kind}; only functions can be imported` }];
  const known = knownImports.get(module);
  if (known?.has(name)) {
    const wanted = millraceImports.get(module)?.[name] ?? type;
    return type === wanted ? [] : [{ field, reason: `is ${type}; the function is ${wanted}` }];
  }
  if (known === undefined) {
    const hint = module === "env" ? assemblyScriptHints.get(name.replace(/^console\..*/, "console")) : undefined;
    return [{ field, reason: importRule + (hint === undefined ? "" : ` (${hint})`) }];
  }
  const what = module === wasiModule ? "files, sockets, arguments and the like are not offered" : "is not offered";
  return [{ field, reason: `${what}; functions of ${module} are ${[...known].join(", ")}` }];
}

function fieldOf(module: string, name: string): string {
  return `module.imports["${module}"]["${name}"]`;
}

function exportProblems({ name }: { readonly name: string }): ErrorDetail[] {
  if (!name.startsWith(reservedPrefix)) return [];
  return [{ field: `module.exports["${name}"]`, reason: `names that start with ${reservedPrefix} are reserved` }];
}

/** Handlers take nothing and return nothing or a code; their input and output are Extism's. */
const handlerTypes: ReadonlySet<string> = new Set(["() -> ()", "() -> (i32)"]);

function manifestProblems(report: ModuleReport, manifest: Manifest): ErrorDetail[] {
  const types = new Map(functionsOf(report).map(({ name, type }) => [name, type]));
  const exports = [
    ...manifestExports(manifest),
    ...hookExports.filter((name) => types.has(name)).map((name) => ({ name, field: `module.exports["${name}"]` })),
  ];
  const declared = capabilitiesOf(manifest.capabilities);
  return [
    ...exports.flatMap(({ name, field }) => {
      const type = types.get(name);
      if (type === undefined) return [{ field, reason: `the module exports no function "${name}"` }];
      return handlerTypes.has(type) ? [] : [{ field, reason: `"${name}" is ${type}; a handler is () -> (i32)` }];
    }),
    ...report.imports.flatMap(({ module, name }) => {
      const capability = capabilityOf(module);
      if (capability === undefined || hasCapability(declared, capability)) return [];
      const key = capability === "kv" ? "kvBytes" : capability;
      return [
        { field: fieldOf(module, name), reason: `takes capabilities.${key}, which the manifest does not declare` },
      ];
    }),
  ];
}
