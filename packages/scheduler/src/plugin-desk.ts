import { equals } from "@bufbuild/protobuf";
import type { Bus } from "@millrace/bus";
import {
  decodePluginRecord,
  PluginEventHandlerSchema,
  PluginState,
  type Plugin,
  type PluginEventHandler,
} from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { EventCursor } from "./event-cursor.ts";
import { EventLine } from "./event-line.ts";
import { JobEndings } from "./job-endings.ts";
import type { SchedulerLogger, SchedulerMetrics } from "./scheduler-signals.ts";
import { TaskClock } from "./task-clock.ts";

export interface PluginDeskDeps {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: SchedulerLogger;
  readonly metrics: SchedulerMetrics;
}

interface OpenLine {
  readonly handlers: readonly PluginEventHandler[];
  readonly line: EventLine;
}

/** What plugins run by event and by time, for those that are active: the work of the one scheduler that leads. */
export class PluginDesk implements AsyncDisposable {
  readonly #deps: PluginDeskDeps;
  readonly #endings: JobEndings;
  readonly #clock: TaskClock;
  readonly #lines = new Map<string, OpenLine>();
  readonly #watch: AsyncDisposable;
  /** Changes of plugins, one after the other: a line must have ended before the next of its plugin begins. */
  #turn: Promise<void> = Promise.resolve();

  constructor(deps: PluginDeskDeps) {
    const { bus, store, logger } = deps;
    this.#deps = deps;
    this.#endings = new JobEndings(bus, store, logger);
    this.#clock = new TaskClock(deps);
    this.#watch = bus.kv("plugins").watch({
      onEntry: (name, entry) => {
        const change = (): Promise<void> =>
          this.#take(name, entry === undefined ? undefined : decodePluginRecord(entry.value));
        this.#turn = this.#turn
          .then(change)
          .catch((error: unknown) => logger.warn({ plugin: name, err: error }, "a plugin's change was not taken"));
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#watch[Symbol.asyncDispose]();
    await this.#turn;
    await this.#clock[Symbol.asyncDispose]();
    await Promise.all([...this.#lines.values()].map(({ line }) => line[Symbol.asyncDispose]()));
    this.#endings[Symbol.dispose]();
  }

  async #take(name: string, plugin: Plugin | undefined): Promise<void> {
    const manifest = plugin?.manifest;
    const active = plugin?.state === PluginState.ACTIVE;
    const handlers = active ? (manifest?.events ?? []) : [];
    const open = this.#lines.get(name);
    if (open === undefined || !sameHandlers(open.handlers, handlers)) {
      this.#lines.delete(name);
      await open?.line[Symbol.asyncDispose]();
      const { bus, logger, metrics } = this.#deps;
      if (handlers.length > 0) {
        const line = new EventLine(name, handlers, { bus, endings: this.#endings, logger, metrics });
        this.#lines.set(name, { handlers, line });
      }
    }
    this.#clock.set(name, active ? (manifest?.schedules ?? []) : []);
    if (plugin === undefined || plugin.state === PluginState.UNINSTALLED) {
      await EventCursor.forget(this.#deps.bus, name);
      await this.#clock.forget(name, manifest?.schedules ?? []);
    }
  }
}

function sameHandlers(a: readonly PluginEventHandler[], b: readonly PluginEventHandler[]): boolean {
  return (
    a.length === b.length &&
    a.every((handler, index) => {
      const other = b[index];
      return other !== undefined && equals(PluginEventHandlerSchema, handler, other);
    })
  );
}
