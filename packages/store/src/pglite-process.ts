import { Duplex } from "node:stream";
import { Worker } from "node:worker_threads";
import { MillraceError } from "@millrace/protocol";
import type { FromPglite, PgliteThreadData, ToPglite } from "./pglite-thread.ts";

/** Longest wait for PGlite to flush and end; it is stopped then, and recovers from its log at the next start. */
const shutDownMs = 10_000;

/** Owns the thread that runs PGlite: starts it on the first connection, and again after it died. */
export class PgliteProcess implements AsyncDisposable {
  readonly #data: PgliteThreadData;
  #worker: Worker | undefined;
  #session: PgliteSocket | undefined;
  #closed = false;

  constructor(data: PgliteThreadData) {
    this.#data = data;
  }

  /** A stream that `pg` takes for its socket. One at a time: an earlier one ends. */
  openSocket(): PgliteSocket {
    if (this.#closed) throw new MillraceError("unavailable", "the database is closed");
    this.#session?.destroy();
    const socket = new PgliteSocket((message) => this.#post(socket, message));
    this.#session = socket;
    return socket;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    worker.postMessage("shut-down" satisfies ToPglite);
    const timer = setTimeout(() => void worker.terminate(), shutDownMs);
    await ended;
    clearTimeout(timer);
  }

  #post(from: PgliteSocket, message: ToPglite): void {
    if (this.#session !== from || (this.#closed && this.#worker === undefined)) return;
    const worker = this.#start();
    if (typeof message === "string") worker.postMessage(message);
    else {
      const own = new Uint8Array(message.bytes);
      worker.postMessage({ bytes: own } satisfies ToPglite, [own.buffer]);
    }
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL("./pglite-thread.ts", import.meta.url), { workerData: this.#data });
    this.#worker = worker;
    worker.on("message", (message: FromPglite) => {
      if (message === "opened") this.#session?.emit("connect");
      else if (message === "shut-down") return;
      else if ("bytes" in message) this.#session?.push(Buffer.from(message.bytes.buffer as ArrayBuffer));
      else this.#session?.destroy(new Error(`PGlite: ${message.failed}`));
    });
    worker.on("error", (cause) => this.#session?.destroy(new Error("PGlite's thread failed", { cause })));
    worker.on("exit", () => {
      this.#worker = undefined;
      this.#session?.destroy(new Error("PGlite's thread ended"));
    });
    return worker;
  }
}

/** The part of net.Socket that `pg` uses. */
export class PgliteSocket extends Duplex {
  readonly #post: (message: ToPglite) => void;

  constructor(post: (message: ToPglite) => void) {
    super({ highWaterMark: 1 << 20, allowHalfOpen: false });
    this.#post = post;
  }

  connect(): this {
    this.#post("open");
    return this;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.#post({ bytes: chunk });
    done();
  }

  override _final(done: () => void): void {
    this.push(null);
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#post("close-session");
    done(error);
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}
