import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { connect } from "nats";
import { atExit } from "./at-exit.ts";

const startMs = 60_000;
const stopMs = 10_000;

export interface BrokerNodeOptions {
  readonly binary: string;
  readonly name: string;
  readonly port: number;
  /** Where JetStream keeps its files; in the node's own folder when left out. */
  readonly storeDir?: string;
  /** Of a cluster: the node's own port for the others, and everybody's. */
  readonly cluster?: { readonly port: number; readonly routes: readonly number[] };
}

/** A nats-server of the checker's own, which can be killed, paused and started again on its files. */
export class BrokerNode implements AsyncDisposable {
  readonly name: string;
  readonly port: number;
  readonly url: string;
  readonly #folder: string;
  readonly #binary: string;
  readonly #exit = atExit(() => this.signal("SIGKILL"));
  #child: ChildProcess | undefined;

  private constructor(folder: string, { binary, name, port }: BrokerNodeOptions) {
    this.#folder = folder;
    this.#binary = binary;
    this.name = name;
    this.port = port;
    this.url = `nats://127.0.0.1:${port}`;
  }

  /** Made, and not started yet: the nodes of a cluster wait for each other. */
  static async make(options: BrokerNodeOptions): Promise<BrokerNode> {
    const folder = await mkdtemp(join(tmpdir(), "millrace-checker-nats-"));
    const node = new BrokerNode(folder, options);
    const { storeDir = join(folder, "store"), name, port, cluster } = options;
    await mkdir(storeDir, { recursive: true });
    // Nodes tell clients of each other by default, who would then go round the proxies.
    const clustered =
      cluster === undefined
        ? ""
        : `cluster {
  name: checker
  listen: "127.0.0.1:${cluster.port}"
  no_advertise: true
  routes: [${cluster.routes.map((route) => `"nats://127.0.0.1:${route}"`).join(", ")}]
}
`;
    await writeFile(
      join(folder, "nats.conf"),
      `server_name: ${JSON.stringify(name)}
listen: "127.0.0.1:${port}"
log_file: ${JSON.stringify(join(folder, "nats.log"))}
logfile_size_limit: 10485760
max_payload: 2097152
jetstream {
  store_dir: ${JSON.stringify(storeDir)}
  max_memory_store: 67108864
  max_file_store: 1099511627776
}
${clustered}`,
    );
    return node;
  }

  get running(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Resolves when it answers, or, without `wait`, when the process is there. */
  async start(wait = true): Promise<void> {
    if (this.running) return;
    const child = spawn(this.#binary, ["-c", join(this.#folder, "nats.conf")], { stdio: "ignore" });
    await once(child, "spawn");
    this.#child = child;
    if (!wait) return;
    const until = Date.now() + startMs;
    for (;;) {
      if (!this.running) throw new Error(`nats-server ended:\n${await this.log()}`);
      try {
        const connection = await connect({ servers: this.url, reconnect: false, timeout: 1000 });
        await connection.jetstreamManager().then((manager) => manager.getAccountInfo());
        await connection.close();
        return;
      } catch (error) {
        if (Date.now() > until) throw new Error(`nats-server does not answer:\n${await this.log()}`, { cause: error });
        await pause(50);
      }
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.running) this.#child?.kill(signal);
  }

  /** As a crash. */
  async kill9(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** The end of its log. */
  async log(): Promise<string> {
    const text = await readFile(join(this.#folder, "nats.log"), "utf8").catch(() => "");
    return text.slice(-4000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGCONT");
    const hard = setTimeout(() => this.signal("SIGKILL"), stopMs);
    await this.#end("SIGTERM");
    clearTimeout(hard);
    this.#exit[Symbol.dispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || !this.running) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }
}
