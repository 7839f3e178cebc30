import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { silentLogger, type BusLogger } from "./bus-logger.ts";
import { BusError } from "./bus-error.ts";
import { findNatsServer } from "./find-nats-server.ts";
import { pause } from "./pause.ts";
import { signalProcess } from "./signal-process.ts";

export interface NatsServerOptions {
  /** A server that runs already: nothing is started. */
  readonly url?: string;
  /** Configuration, log and process id. One server for each folder. */
  readonly dataDir: string;
  /** JetStream's files; `<dataDir>/jetstream` by default. */
  readonly storeDir?: string;
  /** The `nats-server` to run; found or fetched by default. */
  readonly binary?: string;
  /** Where a fetched binary is kept; `<dataDir>/bin` by default. */
  readonly cacheDir?: string;
  /** 0, the default: any that is free. */
  readonly port?: number;
  readonly maxPayloadBytes?: number;
  /** Of each server of a cluster its own; `millrace` by default. */
  readonly serverName?: string;
  /** Configuration files to include: users, TLS, cluster. */
  readonly include?: readonly string[];
  readonly logger?: BusLogger;
}

export interface NatsServer extends AsyncDisposable {
  readonly url: string;
  /** Of the server's own process; undefined when it is not ours. */
  readonly pid: number | undefined;
  /** Unix ms; undefined when it is not ours. For Bus.sweepZombies. */
  readonly startedMs: number | undefined;
  /** Resolves when the process is over; never for a server that is not ours. */
  readonly exited: Promise<void>;
}

const startTimeoutMs = 30_000;
const stopTimeoutMs = 10_000;
const defaultMaxPayloadBytes = 2 << 20;

/**
 * Runs the server as the child of a shell that holds the other end of our pipe: however this process ends, the pipe
 * closes, and the shell stops the server. In a process group of its own, so that Ctrl-C reaches us first, and we drain.
 */
const guardScript = `exec 3<&0
"$1" -c "$2" </dev/null >/dev/null 2>&1 &
pid=$!
( read -r _ <&3; kill -TERM "$pid" ) 2>/dev/null &
guard=$!
wait "$pid"
code=$?
kill "$guard" 2>/dev/null
exit "$code"`;

/**
 * A NATS server with JetStream: the one at `url`, else a child process on the loopback.
 * @throws BusError unavailable when none can be found or started; failed_precondition when another process uses the folder
 */
export async function provideNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  if (options.url !== undefined && options.url !== "") return foreignServer(options.url);
  const logger = options.logger ?? silentLogger;
  const { dataDir } = options;
  const portsDir = join(dataDir, "ports");
  await mkdir(portsDir, { recursive: true });
  await endStale(dataDir, logger);
  for (const name of await readdir(portsDir)) await rm(join(portsDir, name), { force: true });
  const binary = options.binary ?? (await findNatsServer(options.cacheDir ?? join(dataDir, "bin"), logger));
  const configFile = join(dataDir, "nats.conf");
  await writeFile(configFile, configText(options, portsDir));
  await writeFile(join(dataDir, "owner.pid"), String(process.pid));
  const startedMs = Date.now();
  const shell = spawn("/bin/sh", ["-c", guardScript, "sh", binary, configFile], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  const exited = once(shell, "exit").then(() => undefined);
  // Writing to it after its end is nobody's error.
  shell.stdin.on("error", () => undefined);
  try {
    const { url, pid } = await untilReady(portsDir, exited);
    logger.info({ url, pid, binary }, "nats-server started");
    return { url, pid, startedMs, exited, [Symbol.asyncDispose]: () => stop(dataDir, shell, pid, exited) };
  } catch (cause) {
    shell.stdin.end();
    const log = await readFile(join(dataDir, "nats.log"), "utf8").catch(() => "");
    throw new BusError("unavailable", `nats-server did not start: ${log.trim().split("\n").slice(-3).join(" | ")}`, {
      cause,
    });
  }
}

function foreignServer(url: string): NatsServer {
  return {
    url,
    pid: undefined,
    startedMs: undefined,
    exited: new Promise(() => undefined),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function configText(options: NatsServerOptions, portsDir: string): string {
  const { dataDir } = options;
  const text = (value: string): string => JSON.stringify(value);
  return `# Written at each start.
server_name: ${options.serverName ?? "millrace"}
host: 127.0.0.1
port: ${options.port === undefined || options.port === 0 ? -1 : options.port}
ports_file_dir: ${text(portsDir)}
pid_file: ${text(join(dataDir, "nats.pid"))}
log_file: ${text(join(dataDir, "nats.log"))}
logfile_size_limit: 10485760
max_payload: ${options.maxPayloadBytes ?? defaultMaxPayloadBytes}
jetstream {
  store_dir: ${text(options.storeDir ?? join(dataDir, "jetstream"))}
  max_memory_store: 67108864
  # The streams' own bounds hold; the sum of them may exceed a small disk.
  max_file_store: 1099511627776
}
${(options.include ?? []).map((file) => `include ${text(relative(dataDir, file))}\n`).join("")}`;
}

/** The server writes its addresses once JetStream is recovered and it listens. */
async function untilReady(portsDir: string, exited: Promise<void>): Promise<{ url: string; pid: number }> {
  const end = { reached: false };
  void exited.then(() => (end.reached = true));
  const deadline = Date.now() + startTimeoutMs;
  while (Date.now() < deadline && !end.reached) {
    for (const name of await readdir(portsDir)) {
      const pid = /_(\d+)\.ports$/.exec(name)?.[1];
      const found = /"nats":\s*\[\s*"([^"]+)"/.exec(await readFile(join(portsDir, name), "utf8"));
      if (pid !== undefined && found?.[1] !== undefined) return { url: found[1], pid: Number(pid) };
    }
    await pause(10);
  }
  throw new Error(end.reached ? "it ended" : `not ready within ${startTimeoutMs} ms`);
}

async function stop(dataDir: string, shell: ChildProcess, pid: number, exited: Promise<void>): Promise<void> {
  shell.stdin?.end();
  const inTime = await Promise.race([exited.then(() => true), pause(stopTimeoutMs, { unref: true }).then(() => false)]);
  if (!inTime) {
    signalProcess(pid, "SIGKILL");
    await exited;
  }
  await rm(join(dataDir, "owner.pid"), { force: true });
  await rm(join(dataDir, "nats.pid"), { force: true });
}

/** A server that outlived its owner is ended: it holds the files that the next one needs. */
async function endStale(dataDir: string, logger: BusLogger): Promise<void> {
  const owner = Number(await readFile(join(dataDir, "owner.pid"), "utf8").catch(() => "0"));
  const pid = Number(await readFile(join(dataDir, "nats.pid"), "utf8").catch(() => "0"));
  if (!(await isOurs(pid, dataDir))) return;
  if (owner > 0 && owner !== process.pid && signalProcess(owner, 0)) {
    throw new BusError("failed_precondition", `${dataDir} is in use by process ${owner}`);
  }
  logger.warn({ pid }, "ending a nats-server that was left behind");
  signalProcess(pid, "SIGTERM");
  const deadline = Date.now() + stopTimeoutMs;
  while (signalProcess(pid, 0)) {
    if (Date.now() > deadline) signalProcess(pid, "SIGKILL");
    await pause(20);
  }
}

/** Process ids are used again: only one whose command line names our configuration is ours. */
async function isOurs(pid: number, dataDir: string): Promise<boolean> {
  if (!(pid > 0) || !signalProcess(pid, 0)) return false;
  const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => undefined);
  return command === undefined ? process.platform !== "linux" : command.includes(join(dataDir, "nats.conf"));
}
