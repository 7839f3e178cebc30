/** Copies in a cluster of three: made, and kept by services that nobody has told of them. */
import { expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { canCluster, startTestCluster } from "./test-cluster.ts";

async function replicasOf(bus: Bus): Promise<number[]> {
  return [...new Set((await bus.limits()).streams.map(({ replicas }) => replicas))];
}

it.runIf(canCluster())("makes copies, and no service takes them away", { timeout: 120_000 }, async () => {
  await using cluster = await startTestCluster();
  const servers = cluster.url;
  await using told = await connectBus({ servers, name: "told", topology: { replicas: 3 } });
  await told.ensureTopology();
  expect(await replicasOf(told)).toEqual([3]);
  // As a service that nobody has told.
  await using untold = await connectBus({ servers, name: "untold" });
  await untold.ensureTopology();
  expect(await replicasOf(untold)).toEqual([3]);
  await untold.publishDurable("jobs.high.q.t.1", new Uint8Array(10));
  await untold.ensureTopology({ replicas: 1 });
  expect(await replicasOf(untold)).toEqual([1]);
});
