import { createHash } from "node:crypto";
import { chmod, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Identity } from "@millrace/identity";
import { IdentityRuntimeService, MillraceError } from "@millrace/protocol";
import { createClient, type RpcTransport } from "@millrace/rpc";

const ownerOnly = 0o600;
const ownerOnlyFolder = 0o700;

/**
 * Keeps `credentials.json` in the data folder: an administrator's token, for the command line and programs of whoever owns the
 * folder. One that still holds is left as it is.
 * @returns its path; undefined when there is no administrator any more who it could be for
 */
export async function keepCredentials(
  dataDir: string,
  identity: Identity,
  transport: RpcTransport,
): Promise<string | undefined> {
  const path = join(dataDir, "credentials.json");
  const kept = await readToken(path);
  if (kept !== undefined && (await holds(kept, transport))) {
    await chmod(path, ownerOnly);
    return path;
  }
  let token: string;
  try {
    // Several systems may share a database.
    token = await identity.issueLocalToken(`${hostname()}:${dataDir}`);
  } catch (error) {
    if (error instanceof MillraceError && error.code === "failed_precondition") return undefined;
    throw error;
  }
  await mkdir(dataDir, { recursive: true, mode: ownerOnlyFolder });
  // Whole or not at all, and never readable by others, not even for a moment.
  await writeFile(`${path}.new`, `${JSON.stringify({ token }, undefined, 2)}\n`, { mode: ownerOnly });
  await rename(`${path}.new`, path);
  return path;
}

async function readToken(path: string): Promise<string | undefined> {
  try {
    const { token } = JSON.parse(await readFile(path, "utf8")) as { token?: unknown };
    return typeof token === "string" ? token : undefined;
  } catch {
    return undefined; // Made anew.
  }
}

async function holds(token: string, transport: RpcTransport): Promise<boolean> {
  const secretHash = createHash("sha256").update(token).digest();
  const { caller } = await createClient(IdentityRuntimeService, transport).findToken({ secretHash });
  return caller !== undefined;
}
