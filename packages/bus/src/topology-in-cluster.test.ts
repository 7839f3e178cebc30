/** Copies in a cluster of three: made, kept by services that nobody has told of them, and refused by old servers. */
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

it.runIf(!canCluster())("refuses copies where servers are too old for them", { timeout: 120_000 }, async () => {
  await using cluster = await startTestCluster();
  await using told = await connectBus({ servers: cluster.url, name: "told", topology: { replicas: 3 } });
  const { version } = told.info;
  const reason = new RegExp(`3 replicas need nats-server 2.10.20 .*: node-\\d has ${version}$`);
  await expect(told.ensureTopology()).rejects.toThrow(reason);
  // One copy is what they are good for.
  await told.ensureTopology({ replicas: 1 });
  expect(await replicasOf(told)).toEqual([1]);
});
