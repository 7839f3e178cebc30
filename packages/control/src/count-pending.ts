import type { Bus } from "@millrace/bus";
import { jobStream, priorityNames } from "@millrace/protocol";
import type { Metrics } from "@millrace/service-kit";

const consumerPrefix = "w_";

/** Asks the broker how many jobs of each queue no worker has taken. */
export async function countPending(bus: Bus, metrics: Metrics): Promise<void> {
  const counted = await Promise.all(
    priorityNames.map(async (priority) => ({ priority, consumers: await bus.listConsumers(jobStream(priority)) })),
  );
  metrics.jobsPending.reset();
  for (const { priority, consumers } of counted) {
    for (const { name, pending } of consumers) {
      if (!name.startsWith(consumerPrefix)) continue;
      metrics.jobsPending.set({ queue: name.slice(consumerPrefix.length), priority }, pending);
    }
  }
}
