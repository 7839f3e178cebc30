import { setTimeout as delay } from "node:timers/promises";
import { toJson } from "@bufbuild/protobuf";
import { ValueSchema, type Value } from "@bufbuild/protobuf/wkt";
import { backoffDelayMs, SettingsRuntimeService, type BackoffPolicy } from "@millrace/protocol";
import { createClient, type RpcTransport } from "@millrace/rpc";
import { processSettings, takeSettings, type LiveConfig, type Logger } from "@millrace/service-kit";

const retry: BackoffPolicy = { kind: "exponential", baseMs: 50, maxMs: 1_000, jitter: 0.3 };

/** Follows what is set while the system runs, and says what is set here. While control is away what was heard last holds. */
export class SettingsFeed implements AsyncDisposable {
  readonly #config: LiveConfig;
  readonly #logger: Logger;
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  #known = false;

  constructor(transport: RpcTransport, config: LiveConfig, logger: Logger) {
    this.#config = config;
    this.#logger = logger;
    this.#ended = this.#follow(transport);
  }

  /** Whether it was heard at all: until then there are only the values of the start. */
  get known(): boolean {
    return this.#known;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  async #follow(transport: RpcTransport): Promise<void> {
    const { signal } = this.#abort;
    const client = createClient(SettingsRuntimeService, transport);
    const settings = processSettings("gateway", this.#config);
    for (let failures = 0; !signal.aborted;) {
      try {
        for await (const { values } of client.watchSettings({ settings }, { signal })) {
          this.#take(values);
          failures = 0;
        }
      } catch (err) {
        if (signal.aborted) return;
        if (failures === 0) this.#logger.warn({ err }, "does not hear of settings");
      }
      failures++;
      await delay(backoffDelayMs(retry, failures, Math.random()), undefined, { signal }).catch(() => undefined);
    }
  }

  #take(values: Readonly<Record<string, Value>>): void {
    const stored = Object.entries(values).map(([name, value]) => [name, toJson(ValueSchema, value)] as const);
    takeSettings(this.#config, new Map(stored), this.#logger);
    this.#known = true;
  }
}
