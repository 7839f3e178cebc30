import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { provideNatsServer, type NatsServer, type NatsServerOptions } from "./nats-server.ts";

export { DebianArchive } from "./debian-archive.ts";
export { debianNats } from "./nats-releases.ts";

/** A server of its own for one test file: a free port, files in a temporary folder, gone when disposed. */
export class TestNats implements AsyncDisposable {
  readonly url: string;
  /** Where its files are. */
  readonly dataDir: string;
  #server: NatsServer;

  private constructor(dataDir: string, server: NatsServer) {
    this.dataDir = dataDir;
    this.#server = server;
    this.url = server.url;
  }

  static async start(): Promise<TestNats> {
    const dataDir = await mkdtemp(join(tmpdir(), "millrace-nats-"));
    return new TestNats(dataDir, await provideNatsServer(serverOptions(dataDir, 0)));
  }

  /** When the running server was started, Unix ms. */
  get startedMs(): number {
    return this.#server.startedMs ?? 0;
  }

  /** Ends the server as a crash does; resolves when it is gone. */
  async kill9(): Promise<void> {
    if (this.#server.pid !== undefined) process.kill(this.#server.pid, "SIGKILL");
    await this.#server.exited;
  }

  /** Stops the server in order; resolves when it is gone. */
  async stop(): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  /** Starts it again on the same port, with the same files. */
  async restart(): Promise<void> {
    await this.stop();
    this.#server = await provideNatsServer(serverOptions(this.dataDir, Number(new URL(this.url).port)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }
}

export function startTestNats(): Promise<TestNats> {
  return TestNats.start();
}

/** The binary of MILLRACE_TEST_NATS_BIN, else what is found, or fetched once for all tests of a machine. */
function serverOptions(dataDir: string, port: number): NatsServerOptions {
  const binary = process.env["MILLRACE_TEST_NATS_BIN"] ?? "";
  return { dataDir, port, ...(binary === "" ? { cacheDir: join(tmpdir(), "millrace-nats-bin") } : { binary }) };
}
