/** What was on its way to a leader that died or hangs is sent again when the next one is elected. */
import { jobStream } from "@millrace/protocol";
import { expect, it } from "vitest";
import { connectBus } from "./bus.ts";
import { canCluster, startTestCluster, TestElections } from "./testing.ts";

const stream = jobStream("high");
const afterElectionMs = 1000;
/** Nothing else makes the publisher send it again. */
const patient = { ackTimeoutMs: 120_000, deliveryTimeoutMs: 120_000 };

it.runIf(canCluster())("stores a message within a second of the election", { timeout: 180_000 }, async () => {
  await using cluster = await startTestCluster();
  await using elections = await TestElections.start(cluster.nodes.map(({ url }) => url));
  await using bus = await connectBus({ servers: cluster.url, name: "publisher" });
  await bus.ensureTopology({ replicas: 3 });
  let leader = await cluster.leaderOf(stream);
  while (leader.name === bus.info.name) {
    await cluster.stepDown(stream);
    leader = await cluster.leaderOf(stream);
  }
  await using publisher = bus.publisher(patient);
  await bus.flush();
  const sinceMs = Date.now();
  leader.freeze();
  try {
    await publisher.publish({ subject: "jobs.high.q.t.1", data: new Uint8Array(1) });
    const tookMs = Date.now() - sinceMs;
    const elected = await elections.next(stream, undefined, sinceMs);
    expect(tookMs - (elected.atMs - sinceMs)).toBeLessThan(afterElectionMs);
  } finally {
    leader.thaw();
  }
});
