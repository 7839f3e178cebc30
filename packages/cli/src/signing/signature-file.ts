import { join } from "node:path";
import { stat } from "node:fs/promises";
import { fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { MillraceError, PluginSignatureSchema, type PluginSignature } from "@millrace/protocol";
import { readInput } from "../read-payload.ts";
import { writeOutput } from "../write-output.ts";

/** Beside the manifest: a PluginSignature in protobuf's JSON. */
const signatureFile = "plugin.sig";

/** @returns where it was written */
export async function writeSignature(folder: string, signature: PluginSignature): Promise<string> {
  const path = join(folder, signatureFile);
  await writeOutput(path, `${toJsonString(PluginSignatureSchema, signature, { prettySpaces: 2 })}\n`);
  return path;
}

/** @returns undefined when the plugin is not signed */
export async function readSignature(folder: string): Promise<PluginSignature | undefined> {
  const path = join(folder, signatureFile);
  if ((await stat(path).catch(() => undefined)) === undefined) return undefined;
  const text = Buffer.from(await readInput(path)).toString();
  try {
    return fromJsonString(PluginSignatureSchema, text);
  } catch (cause) {
    throw new MillraceError("invalid_argument", `${path} is no signature; make it with: millrace plugin sign`, {
      cause,
    });
  }
}
