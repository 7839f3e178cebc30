/** What comes of a pull when the server that leads its consumer dies, hangs, or has too few others left. */
import { jobStream, queueConsumer } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import type { PullEnd, PullOptions } from "./pull-hub.ts";
import { canCluster, startTestCluster, TestElections, type TestCluster, type TestNats } from "./testing.ts";

const queue = "emails";
const stream = jobStream("high");
const consumer = queueConsumer(queue);
/** As a worker's are: without a word of the broker it would take 33 s. */
const parked: PullOptions = { batch: 1, expiresMs: 30_000, noWait: true };
const afterElectionMs = 1000;
/** Two heartbeats and a half, and the sweep. */
const silentMs = 14_000;

describe.skipIf(!canCluster())("in a cluster of three", () => {
  let cluster: TestCluster;
  let elections: TestElections;
  let bus: Bus;

  beforeAll(async () => {
    cluster = await startTestCluster();
    elections = await TestElections.start(cluster.nodes.map(({ url }) => url));
    bus = await connectBus({ servers: cluster.url, name: "worker" });
    await bus.ensureTopology({ replicas: 3 });
    await bus.ensureQueueConsumers(queue, { ackWaitMs: 30_000 });
  }, 120_000);

  afterAll(async () => {
    for (const node of cluster.nodes) node.thaw();
    await bus[Symbol.asyncDispose]();
    await elections[Symbol.asyncDispose]();
    await cluster[Symbol.asyncDispose]();
  });

  /** The server that leads the consumer, another than the one that we are connected to. */
  async function farLeader(): Promise<TestNats> {
    for (;;) {
      const leader = await cluster.leaderOf(stream, consumer);
      if (leader.name !== bus.info.name) return leader;
      await cluster.stepDown(stream, consumer);
    }
  }

  function pull(options: PullOptions): Promise<PullEnd & { readonly atMs: number; readonly subjects: string[] }> {
    const { promise, resolve } = Promise.withResolvers<PullEnd & { atMs: number; subjects: string[] }>();
    const subjects: string[] = [];
    bus.pull(stream, consumer, options, {
      onMessage: (message) => subjects.push(message.subject),
      onEnd: (end) => resolve({ ...end, atMs: Date.now(), subjects }),
    });
    return promise;
  }

  it.each(["kill9", "freeze"] as const)(
    "ends when the next leader is elected: %s",
    { timeout: 180_000 },
    async (how) => {
      const leader = await farLeader();
      const sinceMs = Date.now();
      if (how === "kill9") await leader.kill9();
      else leader.freeze();
      // Nobody ever hears of it.
      const end = await pull(parked);
      const elected = await elections.next(stream, consumer, sinceMs);
      expect(how === "freeze" ? ["moved"] : ["moved", "unserved"]).toContain(end.reason);
      expect(end.atMs - elected.atMs).toBeLessThan(afterElectionMs);

      await bus.publishDurable(`jobs.high.${queue}.t.${how}`, new Uint8Array(1));
      let got = await pull(parked);
      while (got.reason === "unserved" || got.reason === "moved") got = await pull(parked);
      expect(got.subjects).toEqual([`jobs.high.${queue}.t.${how}`]);
      if (how === "kill9") await leader.restart();
      else leader.thaw();
      await cluster.whole([stream]);
    },
  );

  it("is given up when nobody is left to elect a leader", { timeout: 180_000 }, async () => {
    const leader = await farLeader();
    const others = cluster.nodes.filter(({ name }) => name !== bus.info.name);
    expect(others).toContain(leader);
    for (const node of others) node.freeze();
    const sinceMs = Date.now();
    const end = await pull(parked);
    for (const node of others) node.thaw();
    expect(end.reason).toBe("lost");
    expect(end.atMs - sinceMs).toBeLessThan(silentMs);
  });
});
