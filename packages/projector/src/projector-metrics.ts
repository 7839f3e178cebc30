import type { Metrics } from "@millrace/service-kit";
import type { ProjectorMetrics } from "./projector-signals.ts";

/** The projector's counts among the process's metrics. */
export function projectorMetrics(metrics: Metrics): ProjectorMetrics {
  return {
    written({ rows, lagMessages }) {
      metrics.projectionRows.inc(rows);
      metrics.projectionLag.set(lagMessages);
    },
    skipped() {},
    rejected() {},
    writeFailed() {},
  };
}
