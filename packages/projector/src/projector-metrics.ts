import { isTerminal, priorityNames } from "@millrace/protocol";
import { startSpan, tracingEnabled, type Metrics } from "@millrace/service-kit";
import type { JobPatch } from "@millrace/store";
import type { ProjectorMetrics } from "./projector-signals.ts";

/** The projector's counts among the process's metrics, and the last span of each job that is traced. */
export function projectorMetrics(metrics: Metrics): ProjectorMetrics {
  return {
    written({ rows, lagMessages }) {
      metrics.projectionRows.inc(rows);
      metrics.projectionLag.set(lagMessages);
    },
    projected(patches, startedAtMs) {
      countSubmitted(metrics, patches);
      if (tracingEnabled()) tracePatches(patches, startedAtMs);
    },
    skipped: () => metrics.projectionSkipped.inc(),
    rejected: () => metrics.projectionRejected.inc(),
    writeFailed: () => metrics.projectionWriteFailures.inc(),
    held({ log, freeBytes, heldBytes }) {
      metrics.logTrimmableBytes.set({ log }, freeBytes);
      metrics.logHeldBytes.set({ log }, heldBytes);
    },
    trimmed: (log, messages) => metrics.logTrimmed.inc({ log }, messages),
    repaired: (why) => metrics.jobsRepaired.inc({ why }),
    moved: (log) => metrics.jobsMoved.inc({ log }),
    announcing: (lag) => metrics.announcementLag.set(lag),
  };
}

/** Here and not at the doors, because a bare publish is a job too; a retry's copy is no new job. */
function countSubmitted(metrics: Metrics, patches: readonly JobPatch[]): void {
  for (const { submission, attempt, queue, priority } of patches) {
    if (submission === undefined || attempt !== 1) continue;
    metrics.jobsSubmitted.inc({ queue, priority: priorityNames[priority - 1] ?? "unknown" });
  }
}

function tracePatches(patches: readonly JobPatch[], startedAtMs: number): void {
  for (const { traceparent, id, type, state } of patches) {
    if (traceparent === "" || !isTerminal(state)) continue;
    const attributes = { "millrace.job.id": id, "millrace.job.type": type };
    startSpan(`project ${type}`, { traceparent, startTime: startedAtMs, attributes }).end();
  }
}
