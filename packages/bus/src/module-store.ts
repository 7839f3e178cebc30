import { createHash } from "node:crypto";
import { nuid } from "nats";
import { BusError } from "./bus-error.ts";
import type { Delivery } from "./delivery.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { JsonObject } from "./json.ts";
import { getLast, writeOnce } from "./kv-bucket.ts";
import type { PipelinedPublisher } from "./pipelined-publisher.ts";
import type { PullHub } from "./pull-hub.ts";
import { StreamReader } from "./stream-reader.ts";

const chunkBytes = 128 * 1024;
const readTimeoutMs = 30_000;
const encoder = new TextEncoder();
const sha256Form = /^[0-9a-f]{64}$/;

/** Plugin modules by the sha256 of their bytes, in an object store of the layout that every NATS client shares. */
export class ModuleStore {
  readonly #api: JetStreamApi;
  readonly #pulls: PullHub;
  readonly #publisher: PipelinedPublisher;
  readonly #bucket: string;

  constructor(api: JetStreamApi, pulls: PullHub, publisher: PipelinedPublisher, bucket: string) {
    this.#api = api;
    this.#pulls = pulls;
    this.#publisher = publisher;
    this.#bucket = bucket;
  }

  /** Storing the same bytes again stores nothing. @returns the sha256 in hex */
  async put(bytes: Uint8Array): Promise<string> {
    const sha256 = hash(bytes);
    if ((await this.#meta(sha256)) !== undefined) return sha256;
    const id = nuid.next();
    const subject = `$O.${this.#bucket}.C.${id}`;
    const chunks = Math.ceil(bytes.length / chunkBytes);
    for (let chunk = 0; chunk < chunks; chunk++) {
      // One after the other: their order in the stream is their order in the object.
      await this.#publisher.publish({ subject, data: bytes.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes) });
    }
    await this.#writeMeta(sha256, {
      name: sha256,
      options: { max_chunk_size: chunkBytes },
      bucket: this.#bucket,
      nuid: id,
      size: bytes.length,
      mtime: new Date().toISOString(),
      chunks,
      digest: `SHA-256=${Buffer.from(sha256, "hex").toString("base64url")}=`,
    });
    return sha256;
  }

  async has(sha256: string): Promise<boolean> {
    return (await this.#meta(sha256)) !== undefined;
  }

  /** @throws BusError not_found; data_loss when the bytes are not those of the hash */
  async get(sha256: string): Promise<Uint8Array> {
    const meta = await this.#meta(sha256);
    if (meta === undefined) throw new BusError("not_found", `no module ${sha256}`);
    const chunks = await this.#readChunks(meta.string("nuid"), meta.number("chunks"));
    const bytes = new Uint8Array(Buffer.concat(chunks));
    if (hash(bytes) !== sha256) throw new BusError("data_loss", `module ${sha256}: stored bytes have another hash`);
    return bytes;
  }

  async delete(sha256: string): Promise<void> {
    const meta = await this.#meta(sha256);
    if (meta === undefined) return;
    await this.#writeMeta(sha256, { ...meta.raw(), size: 0, chunks: 0, digest: "", deleted: true });
    await this.#api.requestPatiently(`STREAM.PURGE.OBJ_${this.#bucket}`, {
      filter: `$O.${this.#bucket}.C.${meta.string("nuid")}`,
    });
  }

  async #meta(sha256: string): Promise<JsonObject | undefined> {
    const message = await getLast(this.#api, `OBJ_${this.#bucket}`, this.#metaSubject(sha256));
    if (message === undefined) return undefined;
    const meta = JsonObject.parse(message.data);
    return meta.boolean("deleted") ? undefined : meta;
  }

  async #writeMeta(sha256: string, meta: object): Promise<void> {
    const data = encoder.encode(JSON.stringify(meta));
    await writeOnce(this.#api, this.#metaSubject(sha256), data, [["Nats-Rollup", "sub"]]);
  }

  #metaSubject(sha256: string): string {
    if (!sha256Form.test(sha256)) throw new BusError("invalid_argument", `not a sha256: ${JSON.stringify(sha256)}`);
    return `$O.${this.#bucket}.M.${Buffer.from(sha256).toString("base64").replaceAll("+", "-").replaceAll("/", "_")}`;
  }

  async #readChunks(id: string, count: number): Promise<Uint8Array[]> {
    const chunks: Uint8Array[] = [];
    const complete = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => complete.reject(new BusError("deadline_exceeded", `${chunks.length} of ${count} chunks came in time`)),
      readTimeoutMs,
    );
    await using reader = new StreamReader(this.#api, this.#pulls, {
      stream: `OBJ_${this.#bucket}`,
      filter: `$O.${this.#bucket}.C.${id}`,
      start: "first",
      batch: 64,
      onBatch: (messages: readonly Delivery[]) => {
        for (const message of messages) chunks.push(new Uint8Array(message.data));
        if (chunks.length >= count) complete.resolve();
      },
      onCaughtUp: () => {
        if (chunks.length < count)
          complete.reject(new BusError("data_loss", `${chunks.length} of ${count} chunks are stored`));
        else complete.resolve();
      },
    });
    try {
      await Promise.race([complete.promise, reader.done]);
      return chunks;
    } finally {
      clearTimeout(timer);
    }
  }
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
