import type { Logger, Metrics } from "@millrace/service-kit";
import {
  PluginStateSchema,
  priorityName,
  priorityOrNormal,
  type Plugin,
  type SubmitJobRequest,
} from "@millrace/protocol";

/** What happens in control: one method for each event, with its counter and its log line together. */
export class ControlEvents {
  readonly #logger: Logger;
  readonly #metrics: Metrics;

  constructor(logger: Logger, metrics: Metrics) {
    this.#logger = logger;
    this.#metrics = metrics;
  }

  // No log line: a busy system accepts tens of thousands a second.
  jobSubmitted(request: SubmitJobRequest): void {
    const { queue, priority } = request;
    this.#metrics.jobsSubmitted.inc({ queue: queue || "default", priority: priorityName(priorityOrNormal(priority)) });
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
