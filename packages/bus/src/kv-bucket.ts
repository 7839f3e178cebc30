import { BusError, isRefusedForNow, natsCodes } from "./bus-error.ts";
import { encodeHeaders, type HeaderList } from "./encode-headers.ts";
import type { BusMessage } from "./bus-message.ts";
import { messageStatusOf } from "./bus-message.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { publishError, PublishAck } from "./publish-ack.ts";
import { backoffMs, pause } from "./pause.ts";
import type { PullHub } from "./pull-hub.ts";
import { StreamReader } from "./stream-reader.ts";

export interface KvEntry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly revision: number;
}

export interface KvWatchOptions {
  /** Keys to watch, with wildcards; all by default. */
  readonly keys?: string;
  /** The value at first and at each change; undefined: deleted. May be called again with the same revision. */
  readonly onEntry: (key: string, entry: KvEntry | undefined) => void;
}

/** What there was at the start was told when `ready` resolves. */
export interface KvWatch extends AsyncDisposable {
  readonly ready: Promise<void>;
}

const keyForm = /^[-/=.\w]+$/;
const writeTimeoutMs = 5000;
const operationHeader = "KV-Operation";
/** Of a write: the last sequence of its subject, else it is refused as `aborted`. */
export const expectedHeader = "Nats-Expected-Last-Subject-Sequence";
const deleted: HeaderList = [[operationHeader, "DEL"]];
const empty = new Uint8Array(0);

/** A key-value bucket, of the layout that every NATS client shares. */
export class KvBucket {
  readonly name: string;
  readonly #api: JetStreamApi;
  readonly #pulls: PullHub;

  constructor(api: JetStreamApi, pulls: PullHub, name: string) {
    this.#api = api;
    this.#pulls = pulls;
    this.name = name;
  }

  /** @returns undefined when there is none, or it was deleted */
  async get(key: string): Promise<KvEntry | undefined> {
    const last = await this.#last(key);
    return last === undefined || last.deleted ? undefined : last.entry;
  }

  /** When the broker stored this revision, by its clock, Unix ms; undefined when it is not the last one. */
  async storedMs(key: string, revision: number): Promise<number | undefined> {
    const message = await getLast(this.#api, `KV_${this.name}`, this.#subject(key));
    if (message === undefined || Number(message.header("Nats-Sequence") ?? 0) !== revision) return undefined;
    return Math.floor(Date.parse(message.header("Nats-Time-Stamp") ?? "")) || undefined;
  }

  /** @returns the new revision */
  put(key: string, value: Uint8Array): Promise<number> {
    return this.#write(key, value, []);
  }

  /** @throws BusError already_exists */
  async create(key: string, value: Uint8Array): Promise<number> {
    try {
      return await this.#write(key, value, [[expectedHeader, "0"]]);
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== "aborted") throw error;
    }
    // A delete leaves a marker, which counts as the last revision.
    const last = await this.#last(key);
    if (last !== undefined && !last.deleted) throw new BusError("already_exists", `${this.name}: ${key} exists`);
    try {
      return await this.#write(key, value, [[expectedHeader, String(last?.entry.revision ?? 0)]]);
    } catch (error) {
      if (!(error instanceof BusError) || error.code !== "aborted") throw error;
      throw new BusError("already_exists", `${this.name}: ${key} exists`, { cause: error });
    }
  }

  /** @throws BusError aborted when `revision` is not the last one */
  update(key: string, value: Uint8Array, revision: number): Promise<number> {
    return this.#write(key, value, [[expectedHeader, String(revision)]]);
  }

  /** Leaves a marker, so that watchers hear of it. @throws BusError aborted when `revision` is given and not the last one */
  async delete(key: string, options: { revision?: number } = {}): Promise<void> {
    const expected: HeaderList = options.revision === undefined ? [] : [[expectedHeader, String(options.revision)]];
    await this.#write(key, empty, [...deleted, ...expected]);
  }

  /**
   * Forgets a key and leaves no marker: for buckets whose keys come and go, where nobody watches for what has gone.
   * @throws BusError aborted when `revision` is not the last one
   */
  async remove(key: string, revision: number): Promise<void> {
    try {
      await this.#api.request(`STREAM.MSG.DELETE.KV_${this.name}`, { seq: revision, no_erase: true });
    } catch (error) {
      if (!(error instanceof BusError) || error.natsCode !== natsCodes.deleteFailed) throw error;
      throw new BusError("aborted", `${this.name}: ${key} has another revision than ${revision}`, { cause: error });
    }
  }

  /** Every key with its value. For small buckets: all of it is held in memory. */
  async entries(): Promise<KvEntry[]> {
    const found = new Map<string, KvEntry>();
    await using watch = this.watch({
      onEntry: (key, entry) => void (entry === undefined ? found.delete(key) : found.set(key, entry)),
    });
    await watch.ready;
    return [...found.values()];
  }

  /**
   * The keys alone, without their values, in no order: those that were deleted too, as long as their markers are there.
   * @param filter with wildcards; all by default
   */
  async keys(filter = ">"): Promise<string[]> {
    const prefix = `$KV.${this.name}.`;
    const found = new Set<string>();
    // It comes in pages of 100,000.
    for (let offset = 0; ;) {
      const request = { subjects_filter: `${prefix}${filter}`, offset };
      const info = await this.#api.ask(`STREAM.INFO.KV_${this.name}`, request);
      const subjects = Object.keys(info.object("state").object("subjects").raw());
      for (const subject of subjects) found.add(subject.slice(prefix.length));
      offset += subjects.length;
      if (subjects.length === 0 || offset >= info.number("total")) return [...found];
    }
  }

  /** Tells what is there and then each change; goes on after reconnects and restarts of the broker. */
  watch(options: KvWatchOptions): KvWatch {
    const prefix = `$KV.${this.name}.`;
    const ready = Promise.withResolvers<void>();
    // Keys that were told as present: the bucket may be made anew while we are away.
    const present = new Set<string>();
    const reader = new StreamReader(this.#api, this.#pulls, {
      stream: `KV_${this.name}`,
      filter: `${prefix}${options.keys ?? ">"}`,
      start: "lastPerSubject",
      batch: 512,
      onBatch: (messages) => {
        for (const message of messages) {
          const key = message.subject.slice(prefix.length);
          const gone = isDeletion(message);
          if (gone) present.delete(key);
          else present.add(key);
          options.onEntry(key, gone ? undefined : { key, value: new Uint8Array(message.data), revision: message.seq });
        }
      },
      onReset: () => {
        for (const key of present) options.onEntry(key, undefined);
        present.clear();
      },
      onCaughtUp: () => ready.resolve(),
    });
    reader.done.then(
      () => ready.reject(new BusError("canceled", "watch ended")),
      (error: unknown) => ready.reject(error),
    );
    // Who never waits for it must not be told by an unhandled rejection.
    ready.promise.catch(() => undefined);
    return { ready: ready.promise, [Symbol.asyncDispose]: () => reader[Symbol.asyncDispose]() };
  }

  /**
   * Forgets the markers that deletes leave: for buckets whose keys are used once. A watcher that is away meanwhile does not
   * hear of those deletes.
   * @returns how many were removed
   */
  async compact(): Promise<number> {
    const markers: number[] = [];
    const ready = Promise.withResolvers<void>();
    await using reader = new StreamReader(this.#api, this.#pulls, {
      stream: `KV_${this.name}`,
      filter: `$KV.${this.name}.>`,
      start: "lastPerSubject",
      onBatch: (messages) => {
        for (const message of messages) if (isDeletion(message)) markers.push(message.seq);
      },
      onCaughtUp: () => ready.resolve(),
    });
    await Promise.race([ready.promise, reader.done]);
    for (const seq of markers) {
      await this.#api.find(`STREAM.MSG.DELETE.KV_${this.name}`, { seq, no_erase: true }).catch(() => undefined);
    }
    return markers.length;
  }

  async #last(key: string): Promise<{ entry: KvEntry; deleted: boolean } | undefined> {
    const message = await getLast(this.#api, `KV_${this.name}`, this.#subject(key));
    if (message === undefined) return undefined;
    const revision = Number(message.header("Nats-Sequence") ?? 0);
    return { entry: { key, value: new Uint8Array(message.data), revision }, deleted: isDeletion(message) };
  }

  async #write(key: string, value: Uint8Array, headers: HeaderList): Promise<number> {
    return writeOnce(this.#api, this.#subject(key), value, headers);
  }

  #subject(key: string): string {
    if (!keyForm.test(key) || key.startsWith(".") || key.endsWith(".")) {
      throw new BusError("invalid_argument", `not a key: ${JSON.stringify(key)}`);
    }
    return `$KV.${this.name}.${key}`;
  }
}

function isDeletion(message: BusMessage): boolean {
  const operation = message.header(operationHeader);
  return operation === "DEL" || operation === "PURGE";
}

/**
 * One stored write. Tried again while the broker refuses it for now; when it gives no answer, whether it was stored is for the caller
 * to find out.
 */
export async function writeOnce(
  api: JetStreamApi,
  subject: string,
  value: Uint8Array,
  headers: HeaderList,
): Promise<number> {
  const options = headers.length === 0 ? {} : { headers: encodeHeaders(headers) };
  const deadlineMs = Date.now() + writeTimeoutMs;
  for (let failures = 0; ; failures++) {
    const answer = await api.mux.request(subject, value, { timeoutMs: writeTimeoutMs, ...options });
    const error = publishError(subject, answer.data);
    if (error === undefined) return new PublishAck(answer.data).seq;
    if (!isRefusedForNow(error) || Date.now() >= deadlineMs) throw error;
    await pause(backoffMs(failures, 50, 1000));
  }
}

/** The last message on a subject, by direct get. @throws BusError unavailable when there is no such stream */
export async function getLast(api: JetStreamApi, stream: string, subject: string): Promise<BusMessage | undefined> {
  const answer = await api.mux.request(`$JS.API.DIRECT.GET.${stream}.${subject}`, empty, { timeoutMs: writeTimeoutMs });
  const status = messageStatusOf(answer);
  if (status === undefined) return answer;
  if (status.code === 404) return undefined;
  throw new BusError("internal", `get ${subject}: ${status.code} ${status.text}`);
}
