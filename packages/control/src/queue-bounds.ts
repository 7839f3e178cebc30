import type { Bus } from "@millrace/bus";
import { MillraceError } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import { LoadBounds, retryAfterMs } from "./load-bounds.ts";
import type { QueueSettingsMap } from "./queue-settings-map.ts";

export interface QueueBoundsOptions {
  readonly bus: Bus;
  readonly store: Store;
  /** Name under which the projector keeps its places. */
  readonly cursor: string;
  readonly settings: QueueSettingsMap;
  readonly onRefused: () => void;
}

/** Bounds how many jobs of a queue wait, where its settings say so. What comes over NATS alone is counted, and not refused. */
export function queueBounds({ bus, store, cursor, settings, onRefused }: QueueBoundsOptions): LoadBounds {
  return new LoadBounds({
    bus,
    async read(queue) {
      // The places first: the counts are as late as these, or later.
      const cursors = await store.readCursors(cursor);
      const stats = await store.getQueueStats(queue);
      const jobs = Number((stats?.scheduled ?? 0n) + (stats?.queued ?? 0n) + (stats?.retrying ?? 0n));
      return { jobs, bytes: 0, cursors: new Map([...cursors].map(([log, { seq }]) => [log, seq])) };
    },
    isBound: (queue) => settings.maxWaitingJobs(queue) > 0,
    excess(queue, { jobs }) {
      const limit = settings.maxWaitingJobs(queue);
      if (limit === 0 || jobs < limit) return undefined;
      return new MillraceError("resource_exhausted", `${jobs} jobs wait in queue ${queue}; the limit is ${limit}`, {
        details: [{ field: "waiting_jobs", reason: `${jobs} jobs of at most ${limit}` }],
        retryAfterMs,
      });
    },
    onRefused,
  });
}
