import { appendFileSync, writeFileSync } from "node:fs";
import { ServiceProcess } from "../../lib/process.ts";
import { atExit } from "./at-exit.ts";

/** What a supervisor lets pass before it starts again what has ended by itself. */
const restartMs = 1000;

export interface ServiceOptions {
  /** Of this instance: `worker-1`. */
  readonly name: string;
  /** The package it is. */
  readonly service: string;
  readonly env: Record<string, string>;
  readonly healthUrl: string;
  readonly logFile: string;
  /** It has ended, and nobody had asked for it. */
  onEnded(text: string): void;
}

/** One service in a process of its own, which is started again whenever it ends, as by a supervisor of processes. */
export class SupervisedService implements AsyncDisposable {
  readonly name: string;
  readonly service: string;
  readonly #options: ServiceOptions;
  readonly #exit = atExit(() => this.signal("SIGKILL"));
  #process: ServiceProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #stopping = false;

  constructor(options: ServiceOptions) {
    this.name = options.name;
    this.service = options.service;
    this.#options = options;
    writeFileSync(options.logFile, "");
  }

  start(): void {
    clearTimeout(this.#restart);
    if (this.#stopping || (this.#process !== undefined && !this.#process.ended)) return;
    const { service, env, logFile, name } = this.#options;
    const started = ServiceProcess.service(service, env);
    this.#process = started;
    const keep = (chunk: Buffer): void => appendFileSync(logFile, chunk);
    started.child.stdout?.on("data", keep);
    started.child.stderr?.on("data", keep);
    started.child.once("exit", (code, signal) => {
      // Whoever ends it takes it out first.
      if (this.#process !== started) return;
      this.#process = undefined;
      this.#options.onEnded(`${name} ended by itself (${signal ?? code}): ${started.output.trim().slice(-1500)}`);
      this.#restart = setTimeout(() => this.start(), restartMs);
    });
  }

  async ready(timeoutMs = 60_000): Promise<void> {
    const running = this.#process;
    if (running === undefined) throw new Error(`${this.name} does not run`);
    await running.ready(this.#options.healthUrl, timeoutMs);
  }

  get output(): string {
    return this.#process?.output ?? "";
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.child.kill(signal);
  }

  /** As a crash; it stays away until `start`. */
  async kill9(): Promise<void> {
    await this.#take()?.kill("SIGKILL");
  }

  /** As an operator does; it stays away until `start`. @throws Error when it does not end in time */
  async stop(): Promise<void> {
    const running = this.#take();
    running?.child.kill("SIGCONT");
    await running?.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    // It is killed when it does not stop. Whoever asks for a stop within a run hears of that; here the verdict matters more.
    await this.stop().catch(() => undefined);
    this.#exit[Symbol.dispose]();
  }

  #take(): ServiceProcess | undefined {
    clearTimeout(this.#restart);
    const running = this.#process;
    this.#process = undefined;
    return running;
  }
}
