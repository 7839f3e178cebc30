import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { natsCache } from "./nats-cache.ts";
import { provideNatsServer, type NatsServer, type NatsServerOptions } from "./nats-server.ts";
import { signalProcess } from "./signal-process.ts";

const stoppedWithinMs = 5000;

/** Whether all its threads have stopped, where the system tells. */
function isStopped(pid: number): boolean {
  const tasks = `/proc/${pid}/task`;
  if (!existsSync(tasks)) return true;
  return readdirSync(tasks).every((thread) => {
    const stat = readFileSync(join(tasks, thread, "stat"), "latin1");
    // The state follows the name, which may hold anything, in brackets.
    return stat.charAt(stat.lastIndexOf(")") + 2) === "T";
  });
}

/** A server of its own for one test file: a free port, files in a temporary folder, gone when disposed. */
export class TestNats implements AsyncDisposable {
  readonly url: string;
  /** Where its files are. */
  readonly dataDir: string;
  readonly #options: NatsServerOptions;
  #server: NatsServer;

  private constructor(options: NatsServerOptions, server: NatsServer) {
    this.#options = options;
    this.dataDir = options.dataDir;
    this.#server = server;
    this.url = server.url;
  }

  /** @param options what differs from a server on its own */
  static async start(options: Partial<NatsServerOptions> = {}): Promise<TestNats> {
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "millrace-nats-")));
    const all = { ...binaryOptions(), ...options, dataDir };
    return new TestNats(all, await provideNatsServer(all));
  }

  /** When the running server was started, Unix ms. */
  get startedMs(): number {
    return this.#server.startedMs ?? 0;
  }

  get name(): string {
    return this.#options.serverName ?? "";
  }

  /** Ends the server as a crash does; resolves when it is gone. */
  async kill9(): Promise<void> {
    if (this.#server.pid !== undefined) signalProcess(this.#server.pid, "SIGKILL");
    await this.#server.exited;
  }

  /** It keeps its connections and answers nothing, as on a machine that hangs, until `thaw`. */
  freeze(): void {
    const { pid } = this.#server;
    if (pid === undefined) return;
    signalProcess(pid, "SIGSTOP");
    // Each thread stops at its next turn: until then it may answer what is asked right after this.
    const untilMs = performance.now() + stoppedWithinMs;
    while (!isStopped(pid)) if (performance.now() > untilMs) throw new Error(`process ${pid} did not stop`);
  }

  thaw(): void {
    if (this.#server.pid !== undefined) signalProcess(this.#server.pid, "SIGCONT");
  }

  /** Stops the server in order; resolves when it is gone. */
  async stop(): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  /** Ends the server as a crash does and takes all that it stored away; it may be started again. */
  async loseDisk(): Promise<void> {
    await this.kill9();
    await rm(join(this.dataDir, "jetstream"), { recursive: true, force: true });
  }

  /** Starts it again on the same port, with the same files. */
  async restart(): Promise<void> {
    await this.stop();
    this.#server = await provideNatsServer({ ...this.#options, port: Number(new URL(this.url).port) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A frozen one would take its time to be stopped.
    this.thaw();
    await this.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

export function startTestNats(): Promise<TestNats> {
  return TestNats.start();
}

/** The binary of MILLRACE_TEST_NATS_BIN, else what is found, or fetched once for all tests of a machine. */
function binaryOptions(): Partial<NatsServerOptions> {
  const binary = process.env["MILLRACE_TEST_NATS_BIN"] ?? "";
  return binary === "" ? { cacheDir: natsCache } : { binary };
}
