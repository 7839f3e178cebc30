import type { MessageInitShape } from "@bufbuild/protobuf";
import type { PluginManifestSchema } from "@millrace/protocol";

/** Exports that are called at the turns of a plugin's life, where a module has them. */
export const hookExports: readonly string[] = ["on_install", "on_enable", "on_disable", "on_uninstall"];

/** Every export that a manifest names, with the field that names it. */
export function manifestExports(
  manifest: MessageInitShape<typeof PluginManifestSchema>,
): { readonly name: string; readonly field: string }[] {
  const { handlers = [], events = [], schedules = [], interceptors = [], endpoints = [] } = manifest;
  return Object.entries({ handlers, events, schedules, interceptors, endpoints }).flatMap(([list, items]) =>
    items.map((item, index) => ({ name: item.export ?? "", field: `manifest.${list}[${index}].export` })),
  );
}
