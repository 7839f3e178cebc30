import type { Logger } from "@millrace/service-kit";
import { PluginStateSchema, type Plugin } from "@millrace/protocol";

/** What happens in control: one method for each event. */
export class ControlEvents {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @param ended it waited and is cancelled with this; otherwise a worker was asked to abort it */
  jobCancelled(id: string, ended: boolean): void {
    this.#logger.info({ id, ended }, "job cancelled");
  }

  jobReplayed(id: string, attempt: number): void {
    this.#logger.info({ id, attempt }, "job runs again");
  }

  queuePaused(queue: string): void {
    this.#logger.info({ queue }, "queue paused");
  }

  queueResumed(queue: string): void {
    this.#logger.info({ queue }, "queue resumed");
  }

  pluginUploaded(plugin: Plugin): void {
    this.#logger.info(fields(plugin), "plugin uploaded");
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
    state: PluginStateSchema.value[state]?.localName,
  };
}
