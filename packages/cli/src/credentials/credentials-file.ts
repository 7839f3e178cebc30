import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { MillraceError } from "@millrace/protocol";
import { originOf } from "./origin-of.ts";

/** What `millrace login` keeps for one server. */
export interface KeptLogin {
  readonly token: string;
  /** To revoke it with. */
  readonly tokenId: string;
  readonly email: string;
}

type Env = Readonly<Record<string, string | undefined>>;

const ownerOnly = 0o600;
const ownerOnlyFolder = 0o700;

/** `$XDG_CONFIG_HOME/millrace/credentials.json` (XDG Base Directory Specification), for all servers of this user. */
export function credentialsPath(env: Env): string {
  return join(env["XDG_CONFIG_HOME"] || join(env["HOME"] || homedir(), ".config"), "millrace", "credentials.json");
}

/** @throws MillraceError permission_denied when others may read the file */
export async function readLogin(env: Env, server: string): Promise<KeptLogin | undefined> {
  return (await readLogins(credentialsPath(env)))[originOf(server)];
}

/** @param login undefined forgets it */
export async function writeLogin(env: Env, server: string, login: KeptLogin | undefined): Promise<void> {
  const path = credentialsPath(env);
  const { [originOf(server)]: _, ...others } = await readLogins(path);
  const servers = login === undefined ? others : { ...others, [originOf(server)]: login };
  await mkdir(dirname(path), { recursive: true, mode: ownerOnlyFolder });
  // Whole or not at all, and never readable by others, not even for a moment.
  await writeFile(`${path}.new`, `${JSON.stringify({ servers }, undefined, 2)}\n`, { mode: ownerOnly });
  await rename(`${path}.new`, path);
}

/** @throws MillraceError permission_denied when others may read the file; undefined when there is none */
export async function readSecretFile(path: string): Promise<unknown> {
  let text: string;
  try {
    const { mode } = await stat(path);
    if (process.platform !== "win32" && (mode & 0o077) !== 0) {
      throw new MillraceError("permission_denied", `${path} may be read by others; chmod 600 ${path}`);
    }
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    if (error instanceof MillraceError) throw error;
    throw new MillraceError("permission_denied", `cannot read ${path}`, { cause: error });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new MillraceError("invalid_argument", `${path} is not JSON; log in again after deleting it`, { cause });
  }
}

async function readLogins(path: string): Promise<Record<string, KeptLogin>> {
  const value = (await readSecretFile(path)) as { servers?: unknown } | undefined;
  const kept: Record<string, KeptLogin> = {};
  if (typeof value?.servers !== "object" || value.servers === null) return kept;
  for (const [origin, entry] of Object.entries(value.servers as Record<string, Partial<KeptLogin> | null>)) {
    const { token, tokenId, email } = entry ?? {};
    if (typeof token !== "string") continue;
    kept[origin] = { token, tokenId: String(tokenId ?? ""), email: String(email ?? "") };
  }
  return kept;
}
