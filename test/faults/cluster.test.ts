import { canCluster } from "@millrace/bus/testing";
import { eventsStream, JobState, jobStream, priorityNames, type Job, type PriorityName } from "@millrace/protocol";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startClusterSystem, type ClusterSystem, type Probe } from "../lib/cluster-system.ts";

const queue = "cluster";
/** From a broker's death, with the election, to what a caller and a worker see of it. */
const backWithinMs = 12_000;
/** A busy machine elects late: then it counts from the moment that the cluster names a leader. */
const afterElectionMs = 1000;
/** A server that hangs is left after three pings, and then somebody else is elected. */
const leftWithinMs = 17_000 + backWithinMs;
const stepDowns = 3;
const streams = [...priorityNames.map(jobStream), eventsStream];

/** A stream and jobs to try it with: events are behind each of them. */
const turns: readonly (readonly [string, PriorityName])[] = [
  ...priorityNames.map((priority) => [jobStream(priority), priority] as const),
  [eventsStream, "high"],
];

describe.skipIf(!canCluster())("on a cluster of three", () => {
  let system: ClusterSystem;

  beforeEach(async () => {
    system = await startClusterSystem(queue);
  }, 120_000);

  afterEach(() => system[Symbol.asyncDispose](), 60_000);

  async function expectNothingLost(): Promise<void> {
    const { accepted, rows } = await system.finish();
    expect(accepted.size).toBeGreaterThan(1000);
    const ids = new Set(rows.map(({ id }) => id));
    expect(ids.size).toBe(rows.length);
    expect([...accepted].filter((id) => !ids.has(id))).toEqual([]);
    expect(rows.filter((row: Job) => row.state !== JobState.SUCCEEDED)).toEqual([]);
    // One row each, and the submission with it, not just its end.
    expect(rows.filter((row: Job) => row.submittedAt === undefined || row.type !== "work")).toEqual([]);
  }

  it("loses nothing when leaders are killed and step down under load", { timeout: 900_000 }, async () => {
    const { cluster } = system;
    const killed: Record<string, Probe & { readonly electedMs: number }> = {};
    for (const [stream, priority] of turns) {
      for (let round = 0; round < stepDowns; round++) {
        await cluster.stepDown(stream);
        await system.probe(priority);
      }
      const leader = await cluster.leaderOf(stream);
      await leader.kill9();
      const from = performance.now();
      const elected = cluster.led(stream, leader).then(() => Math.round(performance.now() - from));
      const probe = await system.probe(priority);
      killed[stream] = { electedMs: await elected, ...probe };
      await leader.restart();
      await cluster.whole(streams);
    }
    console.info("after kill -9 of a leader, ms:", JSON.stringify(killed));
    await expectNothingLost();
    for (const [stream, { electedMs, acceptedMs, startedMs }] of Object.entries(killed)) {
      const mostMs = Math.max(backWithinMs, electedMs + afterElectionMs);
      expect(acceptedMs, `${stream}: first PubAck`).toBeLessThan(mostMs);
      expect(startedMs, `${stream}: first delivery`).toBeLessThan(mostMs);
    }
  });

  it("loses nothing when a leader hangs", { timeout: 600_000 }, async () => {
    const { cluster } = system;
    const leader = await cluster.leaderOf(jobStream("normal"));
    leader.freeze();
    const probe = await system.probe("normal");
    console.info("after SIGSTOP of a leader, ms:", JSON.stringify(probe));
    leader.thaw();
    await cluster.whole(streams);
    await expectNothingLost();
    expect(probe.startedMs).toBeLessThan(leftWithinMs);
  });

  it("loses nothing when a server loses its disk", { timeout: 600_000 }, async () => {
    const { cluster } = system;
    const leader = await cluster.leaderOf(jobStream("high"));
    await leader.loseDisk();
    await system.probe("high");
    await leader.restart();
    await cluster.whole(streams);
    // What it copied is all there is, should the next one go.
    const next = await cluster.leaderOf(jobStream("high"));
    await next.kill9();
    await system.probe("high");
    await next.restart();
    await expectNothingLost();
  });
});
