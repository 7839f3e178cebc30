import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { chmod, chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { answers, freePort, serverAccount } from "./test-postgres.ts";

/** A PgBouncer in transaction mode, as it comes: no parameters of a start are ignored. */
export interface TestPgbouncer extends AsyncDisposable {
  /** The same database as the same role, through the pooler. */
  through(url: string): string;
}

/** @returns the program that MILLRACE_TEST_PGBOUNCER_BIN names, else the one that is installed; undefined where none is */
export function findPgbouncer(): string | undefined {
  const given = process.env["MILLRACE_TEST_PGBOUNCER_BIN"] ?? "";
  if (given !== "") return given;
  const folders = ["/usr/sbin", ...(process.env["PATH"] ?? "").split(delimiter)];
  return folders.map((folder) => join(folder, "pgbouncer")).find((file) => existsSync(file));
}

/**
 * @param server url of the PostgreSQL, which trusts everybody
 * @param options.roles who may come
 * @param options.sessions of one role in one database, whatever the number of clients
 */
export async function startTestPgbouncer(
  binary: string,
  server: string,
  { roles, sessions }: { readonly roles: readonly string[]; readonly sessions: number },
): Promise<TestPgbouncer> {
  const { hostname, port: serverPort } = new URL(server);
  const folder = await mkdtemp(join(tmpdir(), "millrace-pgbouncer-"));
  const port = await freePort();
  const users = join(folder, "users.txt");
  const config = join(folder, "pgbouncer.ini");
  await writeFile(users, roles.map((role) => `"${role}" ""\n`).join(""));
  await writeFile(
    config,
    `[databases]
* = host=${hostname} port=${serverPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${users}
pool_mode = transaction
default_pool_size = ${sessions}
max_client_conn = 200
`,
  );
  // It refuses to run as root, too.
  const account = serverAccount();
  if (account !== undefined) await chown(folder, account.uid, account.gid);
  await chmod(folder, 0o755);
  const child = spawn(binary, [config], { cwd: folder, ...account, stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4000)));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()).once("error", () => resolve()));
  // A test that times out never disposes.
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  const through = (url: string): string => {
    const changed = new URL(url);
    changed.port = String(port);
    return changed.href;
  };
  await answers(through(server), () => {
    if (child.exitCode !== null) throw new Error(`pgbouncer ended: ${log}`);
  });
  return {
    through,
    async [Symbol.asyncDispose]() {
      // It keeps nothing, and would wait for its clients.
      child.kill("SIGKILL");
      await ended;
      process.off("exit", kill);
      await rm(folder, { recursive: true, force: true });
    },
  };
}
