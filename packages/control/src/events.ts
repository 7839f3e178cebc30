import type { Logger, Metrics } from "@millrace/service-kit";
import { PluginStateSchema, type Plugin } from "@millrace/protocol";

/** What happens in control: one method for each event. */
export class ControlEvents {
  readonly #logger: Logger;
  readonly #metrics: Metrics;

  constructor(logger: Logger, metrics: Metrics) {
    this.#logger = logger;
    this.#metrics = metrics;
  }

  /** @param ended it waited and is cancelled with this; otherwise a worker was asked to abort it */
  jobCancelled(id: string, ended: boolean): void {
    this.#logger.info({ id, ended }, "job cancelled");
  }

  jobReplayed(id: string, run: number): void {
    this.#logger.info({ id, run }, "job runs again");
  }

  quotaReached(): void {
    this.#metrics.refusals.inc({ reason: "quota" });
  }

  queueFull(): void {
    this.#metrics.refusals.inc({ reason: "queue_bound" });
  }

  logsRepaired(dryRun: boolean, repaired: number, reason: string): void {
    this.#logger.info({ dryRun, repaired, reason }, "logs looked through for jobs that nobody would deliver");
  }

  queuePaused(queue: string): void {
    this.#logger.info({ queue }, "queue paused");
  }

  queueLimited(queue: string, limits: { readonly maxWaitingJobs: number; readonly maxWaitingBytes: number }): void {
    this.#logger.info({ queue, ...limits }, "queue limited");
  }

  queueResumed(queue: string): void {
    this.#logger.info({ queue }, "queue resumed");
  }

  settingChanged(setting: string): void {
    this.#logger.info({ setting }, "setting changed");
  }

  flagSet(flag: string, enabled: boolean, percent: number): void {
    this.#logger.info({ flag, enabled, percent }, "flag set");
  }

  flagDeleted(flag: string): void {
    this.#logger.info({ flag }, "flag deleted");
  }

  pluginUploaded(plugin: Plugin): void {
    this.#logger.info(fields(plugin), "plugin uploaded");
  }

  hookFailed(plugin: Plugin, reason: string): void {
    this.#logger.warn({ ...fields(plugin), reason }, "plugin hook failed");
  }

  canaryTakenBack(plugin: Plugin, reason: string): void {
    this.#metrics.pluginCanariesTakenBack.inc({ plugin: plugin.manifest?.name ?? "" });
    this.#logger.warn({ ...fields(plugin), reason }, "plugin canary taken back");
  }

  /** It is tried again. */
  lifecycleInterrupted(plugin: string, error: unknown): void {
    this.#logger.warn({ plugin, err: error }, "plugin lifecycle interrupted");
  }

  keyTrusted(keyId: string, owner: string): void {
    this.#logger.info({ keyId, owner }, "plugin key trusted");
  }

  keyRevoked(keyId: string, reason: string): void {
    this.#logger.warn({ keyId, reason }, "plugin key revoked");
  }

  pluginChanged(plugin: Plugin): void {
    this.#logger.info(fields(plugin), "plugin changed");
  }
}

function fields(plugin: Plugin): object {
  const { manifest, sha256, state } = plugin;
  return {
    plugin: manifest?.name,
    version: manifest?.version,
    sha256,
    canary: plugin.canary?.version?.manifest?.version,
    state: PluginStateSchema.value[state]?.localName,
  };
}
