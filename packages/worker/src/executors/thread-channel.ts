import { Worker } from "node:worker_threads";
import {
  createProgress,
  executorThreadUrl,
  readProgress,
  type ExecutorData,
  type ExecutorProgress,
  type ExecutorReply,
  type ExecutorRequest,
} from "@millrace/plugin-host";
import { executorNice, type ChannelEvents, type ExecutorChannel } from "./executor-channel.ts";

/** An executor in a thread of this process. */
export class ThreadChannel implements ExecutorChannel {
  readonly name: string;
  readonly #worker: Worker;
  readonly #progress = createProgress();
  #gone = false;

  constructor(events: ChannelEvents) {
    // Nothing of the process's environment: the thread runs other people's code.
    this.#worker = new Worker(executorThreadUrl, {
      workerData: { progress: this.#progress, nice: executorNice } satisfies ExecutorData,
      env: {},
      name: "executor",
      // Extism loads node:wasi, of which Node warns on the terminal for each thread; Deno does not, and takes no flags.
      ...("Deno" in globalThis ? {} : { execArgv: ["--disable-warning=ExperimentalWarning"] }),
    });
    this.name = `thread ${this.#worker.threadId}`;
    const leave = (error: unknown): void => {
      if (this.#gone) return;
      this.#gone = true;
      events.onGone(error);
    };
    this.#worker.on("message", (reply: ExecutorReply) => events.onReply(reply));
    this.#worker.on("error", leave);
    this.#worker.on("exit", (code) => leave(new Error(`executor thread exited with ${code}`)));
  }

  post(request: ExecutorRequest, transfer: ArrayBuffer[]): void {
    this.#worker.postMessage(request, transfer);
  }

  progress(): ExecutorProgress {
    return readProgress(this.#progress);
  }

  async end(): Promise<void> {
    this.#gone = true;
    await this.#worker.terminate();
  }
}
