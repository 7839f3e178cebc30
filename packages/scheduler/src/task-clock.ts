import { equals, toJsonString } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Bus, KvBucket } from "@millrace/bus";
import { isTaggableExport, pluginQueues, PluginScheduleSchema, type PluginSchedule } from "@millrace/protocol";
import { Cron } from "croner";
import { submitPluginJob, taskJobId } from "./plugin-job.ts";
import type { SchedulerLogger, SchedulerMetrics } from "./scheduler-signals.ts";
import { wait } from "./wait.ts";

/** A tick that was missed is made up for when it is younger, and a task that has not started by then does not. */
const lateMs = 3_600_000;
/** Clocks are set now and then: no sleep is longer. */
const longestSleepMs = 60_000;
const retryMs = 1_000;

interface Task {
  readonly plugin: string;
  readonly schedule: PluginSchedule;
  readonly cron: Cron;
  /** The last tick that was run or skipped, Unix ms; undefined until it was read. */
  lastMs: number | undefined;
  /** Nothing is due before, Unix ms. Finding the ticks of a rare pattern takes tens of milliseconds. */
  nextMs: number;
}

export interface TaskClockDeps {
  readonly bus: Bus;
  readonly logger: SchedulerLogger;
  readonly metrics: SchedulerMetrics;
}

/**
 * Runs scheduled tasks of plugins: each tick is one job, whose id is the same for every scheduler. Of the ticks that were missed,
 * because schedulers were down or the plugin switched off, the latest is made up for once, if it is less than an hour old. A
 * task that is new begins with its next tick.
 */
export class TaskClock implements AsyncDisposable {
  readonly #deps: TaskClockDeps;
  readonly #bucket: KvBucket;
  readonly #tasks = new Map<string, Task>();
  readonly #abort = new AbortController();
  readonly #ended: Promise<void>;
  #changed = new AbortController();

  constructor(deps: TaskClockDeps) {
    this.#deps = deps;
    this.#bucket = deps.bus.kv("eventCursors");
    this.#ended = this.#run();
  }

  /** Replaces the tasks of a plugin. */
  set(plugin: string, schedules: readonly PluginSchedule[]): void {
    const names = new Set(schedules.map(({ name }) => taskKey(plugin, name)));
    for (const [key, task] of this.#tasks) if (task.plugin === plugin && !names.has(key)) this.#tasks.delete(key);
    for (const schedule of schedules) {
      const key = taskKey(plugin, schedule.name);
      const before = this.#tasks.get(key);
      if (before !== undefined && equals(PluginScheduleSchema, before.schedule, schedule)) continue;
      const cron = this.#cronOf(plugin, schedule);
      if (cron === undefined) this.#tasks.delete(key);
      else this.#tasks.set(key, { plugin, schedule, cron, lastMs: before?.lastMs, nextMs: 0 });
    }
    this.#changed.abort();
  }

  /** Forgets when the tasks of a plugin ran last that is gone. */
  async forget(plugin: string, schedules: readonly PluginSchedule[]): Promise<void> {
    this.set(plugin, []);
    for (const { name } of schedules) {
      const key = taskKey(plugin, name);
      if ((await this.#bucket.get(key)) !== undefined) await this.#bucket.delete(key);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    while (!signal.aborted) {
      this.#changed = new AbortController();
      let sleepMs = longestSleepMs;
      for (const [key, task] of this.#tasks) {
        try {
          const leftMs = await this.#tick(key, task);
          sleepMs = Math.min(sleepMs, leftMs);
        } catch (error) {
          this.#deps.logger.warn({ task: key, err: error }, "a task could not be submitted: it is tried again");
          sleepMs = Math.min(sleepMs, retryMs);
        }
        if (signal.aborted) return;
      }
      await wait(sleepMs, AbortSignal.any([signal, this.#changed.signal]));
    }
  }

  /** Submits what is due. @returns ms until the next tick */
  async #tick(key: string, task: Task): Promise<number> {
    const { bus, metrics } = this.#deps;
    const { plugin, schedule, cron } = task;
    const nowMs = Date.now();
    if (nowMs < task.nextMs) return task.nextMs - nowMs;
    task.lastMs ??= await this.#firstSeen(key, nowMs);
    const dueMs = latestTick(cron, nowMs);
    if (dueMs !== undefined && dueMs > task.lastMs && dueMs > nowMs - lateMs) {
      await submitPluginJob(bus, {
        id: taskJobId(plugin, schedule.name, dueMs),
        queue: pluginQueues.tasks,
        plugin,
        export: schedule.export,
        cause: `task:${schedule.name}`,
        payload: schedule.input === undefined ? "null" : toJsonString(ValueSchema, schedule.input),
        deadlineMs: dueMs + lateMs,
      });
      // Submitted twice after a crash in between: the stream drops it, or else the job runs again under the same id.
      await this.#bucket.put(key, new TextEncoder().encode(String(dueMs)));
      task.lastMs = dueMs;
      metrics.ticked(Math.max(0, Date.now() - dueMs) / 1000);
    }
    task.nextMs = cron.nextRun(new Date(nowMs))?.getTime() ?? Infinity;
    return Math.max(0, task.nextMs - Date.now());
  }

  async #firstSeen(key: string, nowMs: number): Promise<number> {
    const entry = await this.#bucket.get(key);
    const lastMs = entry === undefined ? NaN : Number(new TextDecoder().decode(entry.value));
    if (Number.isSafeInteger(lastMs)) return lastMs;
    await this.#bucket.put(key, new TextEncoder().encode(String(nowMs)));
    return nowMs;
  }

  #cronOf(plugin: string, { name, cron, timeZone, export: exportName }: PluginSchedule): Cron | undefined {
    try {
      if (!isTaggableExport(exportName)) throw new TypeError(`an export ${exportName} cannot be a task`);
      const parsed = new Cron(cron, { mode: "5-or-6-parts", timezone: timeZone === "" ? "UTC" : timeZone });
      // A time zone that there is not is found out at its first use.
      if (parsed.nextRun() === null) throw new TypeError(`${cron} never comes`);
      return parsed;
    } catch (error) {
      this.#deps.logger.warn({ plugin, task: name, err: error }, "a task that cannot be scheduled");
      return undefined;
    }
  }
}

/** The latest tick up to this moment. */
function latestTick(cron: Cron, nowMs: number): number | undefined {
  // Croner leaves the reference out.
  return cron.previousRuns(1, new Date(nowMs + 1))[0]?.getTime();
}

function taskKey(plugin: string, task: string): string {
  return `task.${plugin}.${task}`;
}
