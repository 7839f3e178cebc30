import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "../lib/process.ts";

/** A server for the length of a run, on loopback and a free port. */
export interface RunningServer extends AsyncDisposable {
  readonly port: number;
  readonly pid: number;
}

async function listening(port: number, child: ChildProcess, name: string): Promise<void> {
  const until = Date.now() + 20_000;
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}`);
    const socket = connect(port, "127.0.0.1");
    const up = await Promise.race([
      once(socket, "connect").then(() => true),
      once(socket, "error").then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (up) return;
    if (Date.now() > until) throw new Error(`${name} does not listen on ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

async function running(name: string, child: ChildProcess, port: number, dir: string): Promise<RunningServer> {
  await listening(port, child, name);
  return {
    port,
    pid: child.pid!,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, "exit");
        child.kill(name === "postgres" ? "SIGINT" : "SIGTERM");
        await gone;
      }
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

function onPath(program: string): string | undefined {
  for (const folder of [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"]) {
    if (folder !== "" && existsSync(join(folder, program))) return join(folder, program);
  }
  return undefined;
}

/** nats-server with JetStream on disk. */
export async function startNats(): Promise<RunningServer> {
  const bin = onPath("nats-server");
  if (bin === undefined) throw new Error("nats-server is not on the PATH");
  const dir = mkdtempSync(join(tmpdir(), "bench-nats-"));
  const port = await freePort();
  const child = spawn(bin, ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", dir], { stdio: "ignore" });
  return running("nats-server", child, port, dir);
}

/** Redis as it comes, without snapshots; undefined where it is not installed. */
export async function startRedis(): Promise<RunningServer | undefined> {
  const bin = onPath("redis-server");
  if (bin === undefined) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "bench-redis-"));
  const port = await freePort();
  // appendonly with everysec is the durable setting that BullMQ's documentation asks for in production.
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes"];
  return running("redis-server", spawn(bin, args, { stdio: "ignore" }), port, dir);
}

/** PostgreSQL with its default settings; undefined where it is not installed. */
export async function startPostgres(): Promise<(RunningServer & { readonly url: string }) | undefined> {
  const base = "/usr/lib/postgresql";
  const found = existsSync(base)
    ? readdirSync(base)
        .filter((name) => existsSync(join(base, name, "bin/postgres")))
        .sort((a, b) => Number(b) - Number(a))[0]
    : undefined;
  const bin = found === undefined ? undefined : join(base, found, "bin");
  if (bin === undefined) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "bench-postgres-"));
  const port = await freePort();
  // postgres refuses to run as root.
  let identity: { uid: number; gid: number } | undefined;
  if (process.getuid?.() === 0) {
    identity = {
      uid: Number(execFileSync("id", ["-u", "postgres"], { encoding: "utf8" })),
      gid: Number(execFileSync("id", ["-g", "postgres"], { encoding: "utf8" })),
    };
    chownSync(dir, identity.uid, identity.gid);
  }
  const data = join(dir, "data");
  const options = { stdio: "ignore" as const, cwd: dir, ...identity };
  execFileSync(
    join(bin, "initdb"),
    ["-D", data, "-U", "bench", "--auth=trust", "--encoding=UTF8", "--no-sync"],
    options,
  );
  const child = spawn(
    join(bin, "postgres"),
    ["-D", data, "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-k", dir],
    options,
  );
  const server = await running("postgres", child, port, dir);
  const url = `postgres://bench@127.0.0.1:${port}/postgres`;
  // The port answers before the server takes sessions.
  const { Client } = (await import("pg")).default;
  for (let tries = 0; ; tries++) {
    const client = new Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      break;
    } catch (error) {
      if (tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return { ...server, url, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}
