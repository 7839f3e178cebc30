import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectBus } from "./bus.ts";
import { canCluster, startTestCluster, type TestCluster } from "./testing.ts";

describe.skipIf(!canCluster())("a cluster of three", () => {
  let cluster: TestCluster;

  beforeAll(async () => {
    cluster = await startTestCluster();
    await using bus = await connectBus({ servers: cluster.url, name: "test" });
    await bus.ensureTopology({ replicas: 3 });
  }, 120_000);

  afterAll(() => cluster[Symbol.asyncDispose]());

  const stream = "JOBS_LOW";
  const publish = async (): Promise<number> => {
    await using bus = await connectBus({ servers: cluster.url, name: "test" });
    return (await bus.publishDurable("jobs.low.q.t", new Uint8Array(1))).seq;
  };

  it("keeps a stream over the end of its leader, which comes back", { timeout: 120_000 }, async () => {
    const seq = await publish();
    const leader = await cluster.leaderOf(stream);
    await leader.kill9();
    expect(await cluster.leaderOf(stream)).not.toBe(leader);
    expect(await publish()).toBe(seq + 1);
    await leader.restart();
    await cluster.whole([stream]);
  });

  it(
    "gives a stream to another leader when it is told to, and when the leader hangs",
    { timeout: 120_000 },
    async () => {
      const first = await cluster.leaderOf(stream);
      await cluster.stepDown(stream);
      await cluster.led(stream, first);
      const second = await cluster.leaderOf(stream);
      second.freeze();
      await cluster.led(stream, second);
      second.thaw();
      await cluster.whole([stream]);
    },
  );

  it("heals a server that lost its disk", { timeout: 120_000 }, async () => {
    const seq = await publish();
    const lost = await cluster.leaderOf(stream);
    await lost.loseDisk();
    await lost.restart();
    await cluster.whole([stream]);
    for (const node of cluster.nodes) if (node !== lost) await node.stop();
    for (const node of cluster.nodes) if (node !== lost) await node.restart();
    expect(await publish()).toBe(seq + 1);
  });
});
