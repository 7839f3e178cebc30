import { connectBus } from "@millrace/bus";

/** Millrace's streams and a queue's consumers on a fresh server, so that every contender works on the same ones. */
export async function prepareTopology(port: number, queues: readonly string[]): Promise<void> {
  await using bus = await connectBus({ servers: `nats://127.0.0.1:${port}`, name: "bench-topology" });
  await bus.ensureTopology();
  for (const queue of queues) await bus.ensureQueueConsumers(queue, { ackWaitMs: 30_000 });
}
