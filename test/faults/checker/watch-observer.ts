import { setTimeout as pause } from "node:timers/promises";
import type { Rest } from "../../lib/rest.ts";
import type { HeardEvent } from "./evidence.ts";

/** A comment comes every 15 s: after this, nobody is there any more. */
const silentMs = 40_000;
const againMs = 300;

interface Watched {
  readonly position?: string;
  readonly event?: {
    readonly jobId?: string;
    readonly kind?: string;
    readonly run?: number;
    readonly attempt?: number;
    readonly at?: string;
  };
}

/** One watcher of all jobs by Server-Sent Events, which comes back with the last position that it has heard. */
export class WatchObserver implements AsyncDisposable {
  readonly heard: HeardEvent[] = [];
  /** How often it had to come back. */
  reconnects = 0;
  readonly #rest: Rest;
  readonly #onIncident: (text: string) => void;
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  readonly #first = Promise.withResolvers<void>();
  readonly #waiting = new Map<string, () => void>();
  readonly #endedJobs = new Set<string>();
  #again = new AbortController();
  #position = "";
  #everConnected = false;

  constructor(rest: Rest, onIncident: (text: string) => void) {
    this.#rest = rest;
    this.#onIncident = onIncident;
    this.#ended = this.#run();
  }

  /** Resolves when it hears what happens from here on. */
  get listening(): Promise<void> {
    return this.#first.promise;
  }

  /** Resolves with the jobs of these whose end it has not heard in time. */
  async missing(ids: readonly string[], withinMs: number): Promise<string[]> {
    const all = Promise.all(
      ids.map((id) =>
        this.#endedJobs.has(id) ? undefined : new Promise<void>((resolve) => this.#waiting.set(id, resolve)),
      ),
    );
    await Promise.race([all, pause(withinMs, undefined, { ref: false })]);
    this.#waiting.clear();
    return ids.filter((id) => !this.#endedJobs.has(id));
  }

  /** Drops the connection and comes back, as a client that has lost patience. */
  reconnect(): void {
    this.#again.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#watch();
      } catch {
        // The gateway is away, or the stream was broken: it comes back and says where it was.
      }
      if (this.#everConnected) this.reconnects++;
      await pause(againMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #watch(): Promise<void> {
    this.#again = new AbortController();
    const silence = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const speak = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        this.#onIncident(`the watcher heard nothing for ${silentMs} ms, not even a comment`);
        silence.abort();
      }, silentMs);
    };
    const signal = AbortSignal.any([this.#stop.signal, this.#again.signal, silence.signal]);
    speak();
    try {
      const headers = this.#position === "" ? {} : { "last-event-id": this.#position };
      const response = await this.#rest.fetch("/api/v1/events", { headers, signal });
      if (!response.ok) {
        const text = await response.text();
        if (response.status < 500 && response.status !== 429) {
          this.#onIncident(`watching after ${JSON.stringify(this.#position)} was answered ${response.status} ${text}`);
          // Otherwise it would be answered so for ever; what is missed meanwhile will be found missing.
          this.#position = "";
        }
        return;
      }
      this.#everConnected = true;
      this.#first.resolve();
      let rest = "";
      for await (const text of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
        speak();
        rest += text;
        for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
          this.#take(rest.slice(0, end));
          rest = rest.slice(end + 2);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  #take(block: string): void {
    const lines = block.split("\n");
    const id = lines.find((line) => line.startsWith("id: "))?.slice(4);
    const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
    if (id === undefined || data === undefined || lines.some((line) => line.startsWith("event: error"))) return;
    this.#position = id;
    const { event } = JSON.parse(data) as Watched;
    if (event?.jobId === undefined || event.kind === undefined) return;
    const { jobId, kind, run = 1, attempt = 1, at } = event;
    this.heard.push({ jobId, kind, run, attempt, atMs: at === undefined ? 0 : Date.parse(at), position: id });
    if (!endKinds.has(kind)) return;
    this.#endedJobs.add(jobId);
    this.#waiting.get(jobId)?.();
  }
}

/** Kinds of events that end a job. */
export const endKinds: ReadonlySet<string> = new Set(["succeeded", "dead", "cancelled", "expired"]);
