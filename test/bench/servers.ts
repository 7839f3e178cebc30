import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
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
        child.kill("SIGTERM");
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

/** nats-server with JetStream on disk: the one of MILLRACE_TEST_NATS_BIN, else the one on the PATH. */
export async function startNats(): Promise<RunningServer> {
  const named = process.env["MILLRACE_TEST_NATS_BIN"] ?? "";
  const bin = named === "" ? onPath("nats-server") : named;
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
