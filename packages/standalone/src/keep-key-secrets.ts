import { randomBytes } from "node:crypto";
import { access, mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readKeySecrets } from "@millrace/identity";
import type { StandaloneConfig } from "./config.ts";

const ownerOnly = 0o600;
const ownerOnlyFolder = 0o700;
const secretBytes = 32;

/** The secrets of the signing keys: those that are set, else those of the data folder, where one is made when there is none. */
export async function keepKeySecrets({
  dataDir,
  keySecret,
  keySecretFile,
}: StandaloneConfig): Promise<readonly Uint8Array[]> {
  const given = await readKeySecrets({ keySecret, keySecretFile });
  if (given.length > 0) return given;
  const path = join(dataDir, "key.secret");
  if (!(await exists(path))) {
    await mkdir(dataDir, { recursive: true, mode: ownerOnlyFolder });
    // Whole or not at all, and never readable by others, not even for a moment.
    await writeFile(`${path}.new`, `${randomBytes(secretBytes).toString("base64")}\n`, { mode: ownerOnly });
    await rename(`${path}.new`, path);
  }
  return readKeySecrets({ keySecretFile: path });
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
