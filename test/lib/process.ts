import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";

export const root = join(import.meta.dirname, "../..");

/** A free port on loopback at the time of asking. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** One service of ours in a process of its own; what it prints is kept for the failure message. */
export class ServiceProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #name: string;
  #output = "";

  constructor(name: string, command: readonly [string, ...string[]], env: Record<string, string>) {
    this.#name = name;
    const [program, ...args] = command;
    this.child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, MILLRACE_LOG_LEVEL: "warn", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const keep = (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString()).slice(-20_000);
    };
    this.child.stdout?.on("data", keep);
    this.child.stderr?.on("data", keep);
  }

  /** Runs `packages/<name>/src/main.ts` under this Node. */
  static service(name: string, env: Record<string, string>): ServiceProcess {
    return new ServiceProcess(name, [process.execPath, `packages/${name}/src/main.ts`], env);
  }

  get output(): string {
    return this.#output;
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async kill(signal: NodeJS.Signals): Promise<void> {
    if (this.ended) return;
    const gone = once(this.child, "exit");
    this.child.kill(signal);
    await gone;
  }

  /** Waits until `url` answers 200. */
  async ready(url: string, timeoutMs = 60_000): Promise<void> {
    const until = Date.now() + timeoutMs;
    let last = "no answer";
    while (Date.now() < until) {
      if (this.ended) throw new Error(`${this.#name} ended with ${this.child.exitCode}:\n${this.#output}`);
      try {
        const response = await fetch(url);
        last = `${response.status} ${await response.text()}`;
        if (response.ok) return;
      } catch (error) {
        last = String(error);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${this.#name} is not ready at ${url}: ${last}\n${this.#output}`);
  }

  /** Asks it to stop, and fails when it does not within 20 s. */
  async stop(): Promise<number | null> {
    if (this.ended) return this.child.exitCode;
    const gone = once(this.child, "exit");
    this.child.kill("SIGTERM");
    const hard = setTimeout(() => this.child.kill("SIGKILL"), 20_000);
    await gone;
    clearTimeout(hard);
    if (this.child.signalCode === "SIGKILL") throw new Error(`${this.#name} did not stop:\n${this.#output}`);
    return this.child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
