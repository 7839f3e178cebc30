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

/**
 * Bounds how many jobs of a queue wait, and how many bytes of payload they have, where its settings say so. What comes over NATS alone
 * is counted, and not refused. Bytes are an estimate by the queue's newest jobs; see bytesOf.
 */
export function queueBounds({ bus, store, cursor, settings, onRefused }: QueueBoundsOptions): LoadBounds {
  return new LoadBounds({
    bus,
    async read(queue) {
      // The places first: the counts are as late as these, or later.
      const cursors = await store.readCursors(cursor);
      const stats = await store.getQueueStats(queue);
      const jobs = Number((stats?.scheduled ?? 0n) + (stats?.queued ?? 0n) + (stats?.retrying ?? 0n));
      const bytes = jobs === 0 || settings.maxWaitingBytes(queue) === 0 ? 0 : await bytesOf(store, queue, jobs);
      return { jobs, bytes, cursors: new Map([...cursors].map(([log, { seq }]) => [log, seq])) };
    },
    isBound: (queue) => settings.maxWaitingJobs(queue) > 0 || settings.maxWaitingBytes(queue) > 0,
    excess(queue, { jobs, bytes }, jobBytes) {
      const mostJobs = settings.maxWaitingJobs(queue);
      if (mostJobs > 0 && jobs >= mostJobs) {
        return refusal("waiting_jobs", `${jobs} jobs wait in queue ${queue}`, `${mostJobs}`);
      }
      const mostBytes = settings.maxWaitingBytes(queue);
      if (mostBytes === 0 || bytes + jobBytes <= mostBytes) return undefined;
      const figure = `${bytes} bytes wait in queue ${queue}`;
      return refusal("waiting_bytes", figure, `${mostBytes}, and this job has ${jobBytes}`);
    },
    onRefused,
  });
}

/**
 * So many jobs that wait, by the mean size of those among the queue's newest 1,000: exact while all that wait are among them. When none
 * of them waits, by the mean of all of them.
 */
async function bytesOf(store: Store, queue: string, jobs: number): Promise<number> {
  const sample = await store.samplePayloads(queue);
  const meanBytes =
    sample.waitingJobs > 0 ? sample.waitingBytes / sample.waitingJobs : sample.bytes / Math.max(1, sample.jobs);
  return Math.round(meanBytes * jobs);
}

function refusal(field: string, figure: string, limit: string): MillraceError {
  const words = `${figure}; the limit is ${limit}`;
  return new MillraceError("resource_exhausted", words, { details: [{ field, reason: words }], retryAfterMs });
}
