import { existsSync } from "node:fs";
import { cp, readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { MillraceError } from "@millrace/protocol";
import { entryFiles, type PluginLanguage } from "./plugin-language.ts";

const templates = join(import.meta.dirname, "../../templates");
const sdk = join(import.meta.dirname, "../../../../plugins/sdk");

/** Which of our bindings an author's project gets, as a copy of its own. */
const bindings: Readonly<Partial<Record<PluginLanguage, string>>> = { assemblyscript: "assembly", c: "c" };

/** Rule of the manifest. */
const pluginName = /^[a-z0-9][a-z0-9_-]{0,63}$/;

export interface NewProject {
  readonly name: string;
  readonly language: PluginLanguage;
  readonly folder: string;
}

/**
 * Writes a small project that builds and passes its tests as it stands.
 * @returns its files, relative to the folder
 * @throws MillraceError when the name breaks the manifest's rule, or the folder exists
 */
export async function createProject({ name, language, folder }: NewProject): Promise<string[]> {
  if (!pluginName.test(name)) {
    const rule = "must be 1 to 64 of a-z, 0-9, _ and -, not starting with _ or -";
    throw new MillraceError("invalid_argument", `the name ${rule}`, { details: [{ field: "name", reason: rule }] });
  }
  if ((await stat(folder).catch(() => undefined)) !== undefined) {
    throw new MillraceError("already_exists", `${folder} exists; it is not overwritten`);
  }
  await cp(join(templates, "shared"), folder, { recursive: true });
  await cp(join(templates, language), folder, { recursive: true });
  const bound = bindings[language];
  if (bound !== undefined && existsSync(join(sdk, bound)))
    await cp(join(sdk, bound), join(folder, "sdk", bound), { recursive: true });
  // Under its own name it would hide files of the templates themselves.
  await rename(join(folder, "gitignore"), join(folder, ".gitignore"));
  const files = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name));
  for (const path of paths) {
    const text = await readFile(path, "utf8");
    const filled = text.replaceAll("PLUGIN_NAME", name).replaceAll("ENTRY_FILE", entryFiles[language]);
    if (filled !== text) await writeFile(path, filled);
  }
  return paths.map((path) => relative(folder, path)).toSorted();
}
