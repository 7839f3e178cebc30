import { setTimeout as delay } from "node:timers/promises";
import { backoffDelayMs, PluginRuntimeService, type BackoffPolicy } from "@millrace/protocol";
import { Code, ConnectError, createClient, type RpcTransport } from "@millrace/rpc";
import type { Logger } from "@millrace/service-kit";
import { extensionTable, noExtensions, type ExtensionTable } from "./extension-table.ts";

const retry: BackoffPolicy = { kind: "exponential", baseMs: 100, maxMs: 5_000, jitter: 0.3 };

/** Follows what plugins extend. While control is away the table that was heard last stands. */
export class ExtensionFeed implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  readonly #known = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;
  #table: ExtensionTable | undefined;

  constructor(transport: RpcTransport, logger: Logger) {
    this.#logger = logger;
    this.#ended = this.#follow(transport);
  }

  /** Undefined until it was heard for the first time. */
  get table(): ExtensionTable | undefined {
    return this.#table;
  }

  /** Resolves when the table is known, or the feed has ended. */
  get known(): Promise<void> {
    return this.#known.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    this.#known.resolve();
    await this.#ended;
  }

  async #follow(transport: RpcTransport): Promise<void> {
    const { signal } = this.#abort;
    const client = createClient(PluginRuntimeService, transport);
    for (let failures = 0; !signal.aborted;) {
      try {
        for await (const extensions of client.watchExtensions({}, { signal })) {
          this.#set(extensionTable(extensions));
          failures = 0;
        }
      } catch (reason) {
        if (signal.aborted) return;
        // A control that does not know of extensions has none.
        if (ConnectError.from(reason).code === Code.Unimplemented) this.#set(noExtensions);
        if (failures === 0) this.#logger.debug({ err: reason }, "does not hear of extensions");
      }
      failures++;
      await delay(backoffDelayMs(retry, failures, Math.random()), undefined, { signal }).catch(() => undefined);
    }
  }

  #set(table: ExtensionTable): void {
    this.#table = table;
    this.#known.resolve();
  }
}
