import type { Metrics } from "@millrace/service-kit";
import type { SchedulerMetrics } from "./scheduler-signals.ts";

/** The scheduler's counts among the process's metrics. */
export function schedulerMetrics(metrics: Metrics): Partial<SchedulerMetrics> {
  return {
    published(count, lateSeconds) {
      metrics.jobsReleased.inc(count);
      metrics.releaseDelaySeconds.observe(lateSeconds);
    },
    missed: (plugin, count) => metrics.pluginEventsMissed.inc({ plugin }, count),
  };
}
