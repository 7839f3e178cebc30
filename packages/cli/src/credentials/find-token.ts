import { join } from "node:path";
import { readRuntimeFile, runtimeDataDir } from "../runtime-file.ts";
import { credentialsPath, readLogin, readSecretFile } from "./credentials-file.ts";
import { originOf } from "./origin-of.ts";

export interface FoundToken {
  readonly token: string;
  /** Where it comes from, in words. */
  readonly source: string;
}

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Who this command is for `server`: MILLRACE_TOKEN, else what `millrace login` kept for that server, else the administrator's
 * token of the system that runs on this machine, which its owner only can read.
 * @returns undefined: nobody
 * @throws MillraceError permission_denied when a file with a token may be read by others
 */
export async function findToken(env: Env, server: string): Promise<FoundToken | undefined> {
  const given = env["MILLRACE_TOKEN"];
  if (given) return { token: given, source: "MILLRACE_TOKEN" };
  const login = await readLogin(env, server);
  if (login !== undefined) return { token: login.token, source: credentialsPath(env) };
  const runtime = await readRuntimeFile(env);
  // A token must not go to another server than its own.
  if (runtime === undefined || originOf(runtime.httpUrl) !== originOf(server)) return undefined;
  const path = join(runtimeDataDir(env), "credentials.json");
  const value = (await readSecretFile(path)) as { token?: unknown } | undefined;
  return typeof value?.token === "string" ? { token: value.token, source: path } : undefined;
}
