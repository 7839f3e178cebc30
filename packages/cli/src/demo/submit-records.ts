import { connectBus, type Bus } from "@millrace/bus";
import { createPublisher, toSubmitRequest, type Client, type JobSpec } from "@millrace/client";
import { MillraceError } from "@millrace/protocol";

export type Door = "nats" | "connect";

export interface Submitted {
  readonly door: Door;
  readonly accepted: number;
  /** Why the first few were not. */
  readonly refusals: readonly string[];
  readonly elapsedMs: number;
}

/** SubmitJobs takes no more in one call. */
const bulkJobs = 1000;
const bulksAtOnce = 4;
const keptRefusals = 10;
const connectTimeoutMs = 2000;

/** @returns undefined when no server answers there */
export async function tryConnect(natsUrl: string): Promise<Bus | undefined> {
  try {
    return await connectBus({ servers: natsUrl, name: "millrace-demo", connectTimeoutMs });
  } catch (error) {
    if (error instanceof MillraceError && error.code === "unavailable") return undefined;
    throw error;
  }
}

/** Through the pipelined publisher. */
export async function submitOverNats(
  bus: Bus,
  jobs: readonly JobSpec[],
  onProgress: (accepted: number) => void,
): Promise<Submitted> {
  await using publisher = await createPublisher({ bus });
  const startedAt = performance.now();
  const totals = await publisher.publishMany(jobs, { onProgress: ({ accepted }) => onProgress(accepted) });
  return {
    door: "nats",
    accepted: totals.accepted,
    refusals: totals.refusals.slice(0, keptRefusals).map(({ id, error }) => `${id}: ${error.message}`),
    elapsedMs: performance.now() - startedAt,
  };
}

/** Through SubmitJobs, a thousand at a time. */
export async function submitOverConnect(
  client: Client,
  jobs: readonly JobSpec[],
  onProgress: (accepted: number) => void,
  signal: AbortSignal,
): Promise<Submitted> {
  const startedAt = performance.now();
  const refusals: string[] = [];
  let accepted = 0;
  let next = 0;
  const lane = async () => {
    while (next < jobs.length) {
      const bulk = jobs.slice(next, next + bulkJobs);
      next += bulkJobs;
      const { outcomes } = await client.jobs.submitJobs({ jobs: bulk.map(toSubmitRequest) }, { signal });
      for (const { id, errorCode, errorMessage } of outcomes) {
        if (errorCode === "") accepted++;
        else if (refusals.length < keptRefusals) refusals.push(`${id}: ${errorCode}: ${errorMessage}`);
      }
      onProgress(accepted);
    }
  };
  await Promise.all(Array.from({ length: bulksAtOnce }, lane));
  return { door: "connect", accepted, refusals, elapsedMs: performance.now() - startedAt };
}
