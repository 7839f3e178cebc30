import type { ExtismPluginOptions } from "@extism/extism";
import { grantedFunctions, type PluginName } from "./asking-functions.ts";
import type { CallState } from "./call-state.ts";
import { extismFunctions } from "./extism-functions.ts";
import type { Capabilities } from "./host-calls.ts";
import { capabilityOf, extismModule, hasCapability, isAsking } from "./known-imports.ts";
import { millraceFunctions } from "./millrace-functions.ts";
import { reservedNames } from "./reserved-names.ts";
import { wasiFunctions } from "./wasi-functions.ts";

type Functions = NonNullable<ExtismPluginOptions["functions"]>;
type Imports = readonly Pick<WebAssembly.ModuleImportDescriptor, "module" | "name">[];

/** Whether calls of a module may wait: it imports a function that leaves the sandbox, and may use it. */
export function mayWait(imports: Imports, granted: Capabilities): boolean {
  return imports.some(({ module, name }) => {
    const capability = capabilityOf(module);
    return capability !== undefined && isAsking(module, name) && hasCapability(granted, capability);
  });
}

/** The host functions that a prepared module imports, and no others: Extism binds each of them for each instance. */
export function linkFunctions(
  imports: Imports,
  state: CallState,
  options: {
    readonly config: ReadonlyMap<string, string>;
    readonly granted: Capabilities;
    readonly plugin: PluginName;
    readonly memoryOf: () => WebAssembly.Memory | undefined;
  },
): Functions {
  const asks = imports.some(({ module, name }) => isAsking(module, name));
  const sources: Functions[] = [
    { [reservedNames.extism]: extismFunctions(state, options.config) },
    { [reservedNames.wasi]: wasiFunctions(state, options.memoryOf) },
    millraceFunctions(state),
    ...(asks ? [grantedFunctions(state, options.granted, options.plugin)] : []),
  ];
  const linked: Functions = {};
  for (const { module, name } of imports) {
    // Extism's own stay where they are.
    if (module === extismModule) continue;
    const found = sources.map((source) => source[module]?.[name]).find((candidate) => candidate !== undefined);
    if (!found) throw new TypeError(`no host function ${module}.${name}: the module was not prepared`);
    (linked[module] ??= {})[name] = found;
  }
  return linked;
}
