import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { root } from "./process.ts";
import type { Rest } from "./rest.ts";

/** Uploads example plugins by REST, as any client would. */
export async function deployExamplePlugins(rest: Rest, names: readonly string[] = ["audit"]): Promise<void> {
  for (const name of names) {
    const folder = join(root, "plugins", name);
    const { status, body } = await rest.call("POST", "/api/v1/plugins", {
      manifest: parse(readFileSync(join(folder, "plugin.yaml"), "utf8")) as object,
      module: readFileSync(join(folder, `${name}.wasm`)).toString("base64"),
    });
    if (status !== 200) throw new Error(`upload of ${name} answered ${status}: ${JSON.stringify(body)}`);
  }
}
