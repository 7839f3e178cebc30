import { randomBytes } from "node:crypto";
import { access, mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readKeySecret } from "@millrace/identity";
import type { StandaloneConfig } from "./config.ts";

const ownerOnly = 0o600;
const ownerOnlyFolder = 0o700;
const secretBytes = 32;

/** The secret of the signing keys: the one that is set, else the one of the data folder, which is made when it is not there. */
export async function keepKeySecret({
  dataDir,
  keySecret,
  keySecretFile,
}: StandaloneConfig): Promise<Uint8Array | undefined> {
  const given = await readKeySecret({ keySecret, keySecretFile });
  if (given !== undefined) return given;
  const path = join(dataDir, "key.secret");
  if (!(await exists(path))) {
    await mkdir(dataDir, { recursive: true, mode: ownerOnlyFolder });
    // Whole or not at all, and never readable by others, not even for a moment.
    await writeFile(`${path}.new`, `${randomBytes(secretBytes).toString("base64")}\n`, { mode: ownerOnly });
    await rename(`${path}.new`, path);
  }
  return readKeySecret({ keySecretFile: path });
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
