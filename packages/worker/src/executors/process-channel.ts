import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { ExecutorProgress, ExecutorRequest } from "@millrace/plugin-host";
import { executorNice, type ChannelEvents, type ExecutorChannel } from "./executor-channel.ts";
import type { ProcessMessage } from "./executor-process.ts";
import { FrameReader, writeFrame } from "./frames.ts";

const entry = fileURLToPath(new URL("executor-process.ts", import.meta.url));
/** Deno's process reads modules and starts threads; it has no network, no files to write, no programs to run. */
const launch =
  "Deno" in globalThis
    ? ["run", "--no-prompt", "--cached-only", "--node-modules-dir=manual", "--allow-read", "--allow-env", entry]
    : ["--disable-warning=ExperimentalWarning", entry];

/** An executor in a process of its own, which SIGKILL ends whatever it does. */
export class ProcessChannel implements ExecutorChannel {
  readonly name: string;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  #progress: ExecutorProgress = { callId: undefined, begun: 0 };
  #gone = false;

  constructor(events: ChannelEvents) {
    this.#child = spawn(process.execPath, launch, { env: {}, stdio: ["pipe", "pipe", "inherit"] });
    this.name = `process ${this.#child.pid}`;
    this.#giveWay();
    const leave = (error: unknown): void => {
      if (this.#gone) return;
      this.#gone = true;
      this.#child.kill("SIGKILL");
      events.onGone(error);
    };
    const reader = new FrameReader((message) => {
      const said = message as ProcessMessage;
      if (said.kind === "progress") this.#progress = said;
      else if (!this.#gone) events.onReply(said);
    });
    this.#child.stdout.on("data", (piece: Uint8Array) => {
      try {
        reader.push(piece);
      } catch (error) {
        leave(error);
      }
    });
    this.#child.on("error", leave);
    this.#child.on("exit", (code, signal) => leave(new Error(`executor process ended with ${signal ?? code}`)));
    // Told by its exit as well.
    this.#child.stdin.on("error", () => undefined);
  }

  /** Before it starts threads: they inherit it. Deno lets no thread find out its own id. */
  #giveWay(): void {
    try {
      if (this.#child.pid !== undefined) setPriority(this.#child.pid, executorNice);
    } catch {
      // It may be gone already, which its exit tells.
    }
  }

  post(request: ExecutorRequest): void {
    writeFrame(this.#child.stdin, request);
  }

  progress(): ExecutorProgress {
    return this.#progress;
  }

  async end(): Promise<void> {
    this.#gone = true;
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null || this.#child.pid === undefined) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }
}
