import type { Bus } from "@millrace/bus";
import type { WorkerRecord } from "@millrace/protocol";
import { within } from "@millrace/service-kit";

/** Well within the time that an entry lives. */
const writeEveryMs = 10_000;
const retryMs = 1000;
/** A worker that stops waits no longer to take its entry back: it ages. */
const withdrawMs = 1000;
/** A clock that is this far off is somebody's business. */
const worthTellingMs = 1000;
const encoder = new TextEncoder();

export interface WorkerPresenceOptions {
  readonly bus: Bus;
  readonly id: string;
  readonly record: Omit<WorkerRecord, "startedMs">;
  /** The machine's clock is off by more than a second; told when it begins, and again each hour. */
  onSkew(skewMs: number): void;
  onTrouble(error: unknown): void;
}

const tellAgainMs = 3_600_000;

/**
 * Says that this worker lives, in the bucket `workers`: whoever looks for a job asks those that are there. Each write also tells what
 * time the broker has, as it stores the entry between the question and the answer.
 */
export class WorkerPresence implements AsyncDisposable {
  readonly #options: WorkerPresenceOptions;
  readonly #data: Uint8Array;
  readonly #listening: Disposable;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #stopped = false;
  #toldMs = -Infinity;

  private constructor(options: WorkerPresenceOptions) {
    this.#options = options;
    const record: WorkerRecord = { ...options.record, startedMs: options.bus.clock.nowMs() };
    this.#data = encoder.encode(JSON.stringify(record));
    let epoch = options.bus.status.epoch;
    this.#listening = options.bus.onStatus((now) => {
      if (!now.connected || now.epoch === epoch) return;
      epoch = now.epoch;
      this.#beat();
    });
  }

  /** Resolves when others can see this worker, and it has the broker's time. @throws BusError */
  static async start(options: WorkerPresenceOptions): Promise<WorkerPresence> {
    const presence = new WorkerPresence(options);
    try {
      await presence.#write();
      presence.#next(writeEveryMs);
    } catch (error) {
      presence.#end();
      throw error;
    }
    return presence;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end();
    await within(withdrawMs, this.#withdraw());
  }

  /** Never rejects. */
  async #withdraw(): Promise<void> {
    await this.#writing;
    const { bus, id, onTrouble } = this.#options;
    if (bus.connected) await bus.kv("workers").delete(id).catch(onTrouble);
  }

  #end(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#listening[Symbol.dispose]();
  }

  #next(ms: number): void {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => this.#beat(), ms);
  }

  #beat(): void {
    if (this.#writing !== undefined || this.#stopped) return;
    // The connection's return calls again.
    if (!this.#options.bus.connected) return this.#next(writeEveryMs);
    this.#writing = this.#write()
      .then(
        () => this.#next(writeEveryMs),
        (error: unknown) => {
          this.#options.onTrouble(error);
          this.#next(retryMs);
        },
      )
      .finally(() => {
        this.#writing = undefined;
      });
  }

  async #write(): Promise<void> {
    const { bus, id } = this.#options;
    const bucket = bus.kv("workers");
    const sentMs = performance.now();
    const revision = await bucket.put(id, this.#data);
    const answeredMs = performance.now();
    const storedMs = await bucket.storedMs(id, revision);
    if (storedMs === undefined) return;
    bus.clock.observe(sentMs, answeredMs, storedMs);
    const { skewMs } = bus.clock;
    const isOff = Math.abs(skewMs) > worthTellingMs;
    if (isOff && answeredMs - this.#toldMs > tellAgainMs) {
      this.#toldMs = answeredMs;
      this.#options.onSkew(skewMs);
    } else if (!isOff) this.#toldMs = -Infinity;
  }
}
