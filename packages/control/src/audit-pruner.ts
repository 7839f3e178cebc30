import type { Logger } from "@millrace/service-kit";
import type { Store } from "@millrace/store";
import type { ControlSettings } from "./config.ts";

const dayMs = 24 * 3_600_000;

export interface AuditPrunerDeps {
  readonly store: Store;
  readonly logger: Logger;
  /** Looked up anew each time. */
  readonly settings: Pick<ControlSettings, "auditRetentionDays">;
  readonly everyMs: number;
  /** The trail has an entry that tells of it. */
  readonly onPruned: () => void;
}

/** Removes entries of the audit trail that were kept long enough, a whole day of them at a time. */
export class AuditPruner implements AsyncDisposable {
  readonly #deps: AuditPrunerDeps;
  readonly #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(deps: AuditPrunerDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#start(), deps.everyMs);
    this.#timer.unref();
    this.#start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await this.#running;
  }

  #start(): void {
    this.#running ??= this.#prune().finally(() => (this.#running = undefined));
  }

  async #prune(): Promise<void> {
    const { store, logger, settings, onPruned } = this.#deps;
    const { auditRetentionDays } = settings;
    if (auditRetentionDays === 0) return;
    const nowMs = Date.now();
    const beforeMs = Math.floor(nowMs / dayMs - auditRetentionDays) * dayMs;
    try {
      let gone = 0;
      for (let count = 1; count > 0 && !this.#stopped; gone += count) count = await store.audit.prune(beforeMs, nowMs);
      if (gone === 0) return;
      logger.info({ entries: gone, auditRetentionDays }, "old entries of the audit trail pruned");
      onPruned();
    } catch (error) {
      // The database is away, or the trail is broken: then it stays as it is, to be looked into.
      logger.warn({ err: error }, "the audit trail cannot be pruned");
    }
  }
}
