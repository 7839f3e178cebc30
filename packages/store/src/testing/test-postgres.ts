import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { chown, mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import pg from "pg";

/** Longest wait for a fresh server to answer. */
const startMs = 30_000;

/** A PostgreSQL server of the test's own, in a temporary folder. */
export interface TestPostgres extends AsyncDisposable {
  /** Of the maintenance database, as a superuser. */
  readonly url: string;
  /** Ends the server as a crash would, or lets it come back on the same data and port. */
  stop(): Promise<void>;
  start(): Promise<void>;
  /** It keeps its connections and answers nothing, as on a machine that hangs, until `thaw`. On Linux only. */
  freeze(): void;
  thaw(): void;
}

/**
 * @returns the folder of `initdb` and `postgres`: the one that MILLRACE_TEST_POSTGRES_BIN names, else of what is installed;
 *   undefined where none is
 */
export function findPostgresBinaries(): string | undefined {
  const given = process.env["MILLRACE_TEST_POSTGRES_BIN"] ?? "";
  if (given !== "") return given;
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const folders = [...versions.map((v) => join(debian, v, "bin")), ...(process.env["PATH"] ?? "").split(delimiter)];
  return folders.find((folder) => existsSync(join(folder, "initdb")) && existsSync(join(folder, "postgres")));
}

/** `default` is what PostgreSQL comes with, for measurements; `none` is quick: nothing of the server outlives a test. */
export type Durability = "none" | "default";

const settings: Readonly<Record<Durability, readonly string[]>> = {
  none: ["fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_connections=60"],
  default: [],
};

export async function startTestPostgres(binaries: string, durability: Durability = "none"): Promise<TestPostgres> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-postgres-"));
  const account = serverAccount();
  if (account !== undefined) await chown(folder, account.uid, account.gid);
  const options = { cwd: folder, ...account };
  const data = join(folder, "data");
  const made = spawnSync(
    join(binaries, "initdb"),
    ["-D", data, "-U", "millrace", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"],
    { ...options, encoding: "utf8" },
  );
  if (made.status !== 0) throw new Error(`initdb failed: ${made.stderr}`, { cause: made.error });
  const port = await freePort();
  const url = `postgres://millrace@127.0.0.1:${port}/postgres`;
  let server: ReturnType<typeof spawn> | undefined;
  // A test that times out never disposes: its server must not outlive the process.
  const killServer = (): void => void server?.kill("SIGQUIT");
  process.once("exit", killServer);

  async function start(): Promise<void> {
    const set = settings[durability].flatMap((setting) => ["-c", setting]);
    const args = ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", folder, ...set];
    const child = spawn(join(binaries, "postgres"), args, { ...options, stdio: ["ignore", "ignore", "pipe"] });
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => (log = (log + chunk.toString()).slice(-4000)));
    server = child;
    await answers(url, () => {
      if (child.exitCode !== null) throw new Error(`postgres ended: ${log}`);
    });
  }

  /** The server is a process for each connection, and one that makes no others while it is stopped. */
  function signalAll(signal: NodeJS.Signals): void {
    const pid = server?.pid;
    if (pid === undefined || server?.exitCode !== null) return;
    server.kill(signal);
    for (const child of readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" "))
      if (child !== "") process.kill(Number(child), signal);
  }

  let isFrozen = false;
  function freeze(): void {
    isFrozen = true;
    signalAll("SIGSTOP");
  }
  function thaw(): void {
    if (isFrozen) signalAll("SIGCONT");
    isFrozen = false;
  }

  async function stop(): Promise<void> {
    const child = server;
    thaw();
    server = undefined;
    if (child === undefined || child.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGQUIT");
    await ended;
  }

  await start();
  return {
    url,
    start,
    stop,
    freeze,
    thaw,
    async [Symbol.asyncDispose]() {
      await stop();
      process.off("exit", killServer);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** PostgreSQL refuses to run as root: the account its Debian package makes, else "nobody". Undefined: the own one will do. */
export function serverAccount(): { readonly uid: number; readonly gid: number } | undefined {
  return process.getuid?.() === 0 ? (userId("postgres") ?? userId("nobody")) : undefined;
}

/** Waits until a server does, as long as `check` does not throw. */
export async function answers(url: string, check: () => void): Promise<void> {
  const until = performance.now() + startMs;
  for (;;) {
    check();
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1000 });
    client.on("error", () => undefined);
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function userId(name: string): { uid: number; gid: number } | undefined {
  const read = (flag: string) => spawnSync("id", [flag, name], { encoding: "utf8" });
  const uid = read("-u");
  if (uid.status !== 0) return undefined;
  return { uid: Number(uid.stdout), gid: Number(read("-g").stdout) };
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no free port");
  return address.port;
}
