import { createPublisher, type JobSpec } from "@millrace/client";
import { MillraceError } from "@millrace/protocol";

export interface Load {
  /** Ids whose publish was acknowledged, as they come. */
  readonly accepted: ReadonlySet<string>;
  /** Resolves when so many are accepted; rejects when the load ends with fewer. */
  whenAccepted(count: number): Promise<void>;
  /** All publishes that were not acknowledged, with the code of the error that the caller got. */
  readonly ended: Promise<ReadonlyMap<string, string>>;
}

export interface LoadOptions {
  readonly natsUrl: string;
  readonly queue: string;
  readonly jobs: number;
  /** What the jobs' ids begin with; the queue's name when left out. */
  readonly prefix?: string;
  /** How many publishes wait for their answer at one time. */
  readonly concurrency?: number;
  readonly deliveryTimeoutMs?: number;
}

/** Of ten jobs one fails its first attempt; priorities mixed. */
function jobAt(queue: string, prefix: string, index: number): JobSpec & { id: string } {
  return {
    id: `${prefix}-${index}`,
    queue,
    type: index % 10 === 0 ? "stumble" : "work",
    priority: (["critical", "high", "normal", "low"] as const)[index % 4] ?? "normal",
    payload: { index },
    maxAttempts: 5,
    backoff: { kind: "fixed", baseMs: 50 },
  };
}

/** Publishes jobs by `@millrace/client`, each with its own answer: what was accepted is known job by job. */
export function publishLoad(options: LoadOptions): Load {
  const accepted = new Set<string>();
  const waiting = new Set<{ readonly count: number; readonly done: PromiseWithResolvers<void> }>();
  const ended = run(options, (id) => {
    accepted.add(id);
    for (const waiter of waiting) {
      if (accepted.size < waiter.count) continue;
      waiting.delete(waiter);
      waiter.done.resolve();
    }
  });
  const give = (): void => {
    for (const { count, done } of waiting) done.reject(new Error(`the load ended with ${accepted.size} of ${count}`));
  };
  ended.then(give, give);
  return {
    accepted,
    ended,
    whenAccepted(count) {
      if (accepted.size >= count) return Promise.resolve();
      const done = Promise.withResolvers<void>();
      waiting.add({ count, done });
      return done.promise;
    },
  };
}

async function run(options: LoadOptions, onAccepted: (id: string) => void): Promise<Map<string, string>> {
  const { natsUrl, queue, jobs, prefix = queue, concurrency = 200, deliveryTimeoutMs } = options;
  const refused = new Map<string, string>();
  await using publisher = await createPublisher({
    natsUrl,
    ...(deliveryTimeoutMs === undefined ? {} : { deliveryTimeoutMs }),
  });
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < jobs) {
      const job = jobAt(queue, prefix, next++);
      try {
        onAccepted((await publisher.publish(job)).id);
      } catch (error) {
        if (!(error instanceof MillraceError)) throw error;
        refused.set(job.id, error.code);
      }
    }
  };
  await Promise.all(Array.from({ length: concurrency }, lane));
  return refused;
}
