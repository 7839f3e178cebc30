import { createHash } from "node:crypto";
import { nuid } from "nats";
import { BusError } from "./bus-error.ts";
import type { Delivery } from "./delivery.ts";
import type { HeaderList } from "./encode-headers.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { JsonObject } from "./json.ts";
import { expectedHeader, getLast, writeOnce } from "./kv-bucket.ts";
import type { PipelinedPublisher } from "./pipelined-publisher.ts";
import type { PullHub } from "./pull-hub.ts";
import { StreamReader } from "./stream-reader.ts";

const chunkBytes = 128 * 1024;
const readTimeoutMs = 30_000;
/** Others may store or delete the same module at the same time. */
const mostTries = 8;
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

  /**
   * Bytes that are stored already stay, under a new revision: who takes them for unused, and deletes them, fails.
   * @returns the sha256 in hex
   * @throws BusError aborted when others change the same module all the time
   */
  async put(bytes: Uint8Array): Promise<string> {
    const sha256 = hash(bytes);
    for (let tries = 1; ; tries++) {
      const { meta, revision } = await this.#last(sha256);
      try {
        if (meta === undefined) await this.#putNew(sha256, bytes, revision);
        else await this.#writeMeta(sha256, meta.raw(), revision);
        return sha256;
      } catch (error) {
        if (!(error instanceof BusError) || error.code !== "aborted" || tries === mostTries) throw error;
      }
    }
  }

  /** To delete it by. @returns undefined when there is no such module */
  async revision(sha256: string): Promise<number | undefined> {
    const { meta, revision } = await this.#last(sha256);
    return meta === undefined ? undefined : revision;
  }

  /** @throws BusError not_found; data_loss when the bytes are not those of the hash */
  async get(sha256: string): Promise<Uint8Array> {
    const { meta } = await this.#last(sha256);
    if (meta === undefined) throw new BusError("not_found", `no module ${sha256}`);
    const chunks = await this.#readChunks(meta.string("nuid"), meta.number("chunks"));
    const bytes = new Uint8Array(Buffer.concat(chunks));
    if (hash(bytes) !== sha256) throw new BusError("data_loss", `module ${sha256}: stored bytes have another hash`);
    return bytes;
  }

  /** @throws BusError aborted when it has been put again since it had `revision` */
  async delete(sha256: string, revision: number): Promise<void> {
    const { meta } = await this.#last(sha256);
    if (meta === undefined) return;
    await this.#writeMeta(sha256, { ...meta.raw(), size: 0, chunks: 0, digest: "", deleted: true }, revision);
    await this.#purge(meta.string("nuid"));
  }

  async #putNew(sha256: string, bytes: Uint8Array, revision: number): Promise<void> {
    const id = nuid.next();
    const subject = `$O.${this.#bucket}.C.${id}`;
    const chunks = Math.ceil(bytes.length / chunkBytes);
    for (let chunk = 0; chunk < chunks; chunk++) {
      // One after the other: their order in the stream is their order in the object.
      await this.#publisher.publish({ subject, data: bytes.subarray(chunk * chunkBytes, (chunk + 1) * chunkBytes) });
    }
    const meta = {
      name: sha256,
      options: { max_chunk_size: chunkBytes },
      bucket: this.#bucket,
      nuid: id,
      size: bytes.length,
      mtime: new Date().toISOString(),
      chunks,
      digest: `SHA-256=${Buffer.from(sha256, "hex").toString("base64url")}=`,
    };
    try {
      await this.#writeMeta(sha256, meta, revision);
    } catch (error) {
      // Somebody else has stored the same: nothing leads to these chunks.
      if (error instanceof BusError && error.code === "aborted") await this.#purge(id);
      throw error;
    }
  }

  /** What stands under a hash, with the revision to change it by; no `meta` where nothing is stored, or it was deleted. */
  async #last(sha256: string): Promise<{ readonly meta: JsonObject | undefined; readonly revision: number }> {
    const message = await getLast(this.#api, `OBJ_${this.#bucket}`, this.#metaSubject(sha256));
    if (message === undefined) return { meta: undefined, revision: 0 };
    const meta = JsonObject.parse(message.data);
    return { meta: meta.boolean("deleted") ? undefined : meta, revision: Number(message.header("Nats-Sequence")) };
  }

  async #writeMeta(sha256: string, meta: object, revision: number): Promise<void> {
    const data = encoder.encode(JSON.stringify(meta));
    const headers: HeaderList = [
      ["Nats-Rollup", "sub"],
      [expectedHeader, String(revision)],
    ];
    await writeOnce(this.#api, this.#metaSubject(sha256), data, headers);
  }

  async #purge(id: string): Promise<void> {
    const filter = `$O.${this.#bucket}.C.${id}`;
    await this.#api.requestPatiently(`STREAM.PURGE.OBJ_${this.#bucket}`, { filter });
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
