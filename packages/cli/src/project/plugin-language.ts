import { stat } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError } from "@millrace/protocol";

export const pluginLanguages = ["assemblyscript", "c", "rust"] as const;

export type PluginLanguage = (typeof pluginLanguages)[number];

/** What a compiler is given, by language; a project has one of them. */
export const entryFiles: Readonly<Record<PluginLanguage, string>> = {
  assemblyscript: "assembly/index.ts",
  c: "plugin.c",
  rust: "src/lib.rs",
};

/** @throws MillraceError invalid_argument when the folder holds no source that we know to build */
export async function findLanguage(folder: string): Promise<PluginLanguage> {
  for (const language of pluginLanguages) {
    const found = await stat(join(folder, entryFiles[language])).catch(() => undefined);
    if (found?.isFile() === true) return language;
  }
  const known = pluginLanguages.map((language) => entryFiles[language]).join(", ");
  throw new MillraceError("invalid_argument", `${folder} holds none of ${known}; build its .wasm by other means`);
}
