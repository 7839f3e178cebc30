import { canCluster } from "@millrace/bus/testing";
import { eventsStream, JobState, jobStream, priorityNames, type Job, type PriorityName } from "@millrace/protocol";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startClusterSystem, type ClusterSystem, type Probe, type Seen } from "../lib/cluster-system.ts";

const queue = "cluster";
/**
 * What Millrace adds to the cluster's own time: from the moment that the cluster has said who leads the log to the first PubAck, and
 * from the later word of that and of who leads the queue's consumer (each consumer is a group that elects for itself) to the first
 * delivery. So both come within 12 s of a kill unless the cluster itself took more than 11 s to elect, which on a busy machine
 * it does; and within a second where nobody had to be elected.
 */
const afterElectionMs = 1000;
/** A delivery that may be a repeat, as those of a consumer whose new leader has counted back, is looked up first, for a second and a quarter at most. */
const lookedUpMs = 2000;
/** With three pings unanswered a connection to a server that hangs is given up. */
const leftWithinMs = 17_000;
/** That no leader was elected for a queue, or that there is one. */
const toldWithinMs = 20_000;
/** Of each stream, 20 in all. */
const stepDowns = 4;
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
    const ids = new Set(rows.map(({ id }) => id));
    expect(ids.size).toBe(rows.length);
    expect([...accepted].filter((id) => !ids.has(id))).toEqual([]);
    expect(rows.filter((row: Job) => row.state !== JobState.SUCCEEDED)).toEqual([]);
    // One row each, and the submission with it, not just its end.
    expect(rows.filter((row: Job) => row.submittedAt === undefined || row.type !== "work")).toEqual([]);
  }

  function expectSoonAfterElection(what: string, seen: Seen): void {
    const { publishedMs, streamElectedMs, acceptedMs, consumerElectedMs, deliveredMs, startedMs } = seen;
    const writableMs = Math.max(publishedMs, streamElectedMs);
    expect(acceptedMs - writableMs, `${what}: first PubAck after the election`).toBeLessThan(afterElectionMs);
    const readableMs = Math.max(writableMs, consumerElectedMs);
    expect(deliveredMs - readableMs, `${what}: first delivery after the elections`).toBeLessThan(afterElectionMs);
    expect(startedMs - deliveredMs, `${what}: start after the delivery`).toBeLessThan(lookedUpMs);
  }

  it("loses nothing when leaders are killed and step down under load", { timeout: 900_000 }, async () => {
    const { cluster } = system;
    const probes: [what: string, probe: Probe, sinceMs: number][] = [];
    for (const [stream, priority] of turns) {
      for (let round = 1; round <= stepDowns; round++) {
        const sinceMs = Date.now();
        await cluster.stepDown(stream);
        probes.push([`step-down ${round} of ${stream}`, await system.probe(priority), sinceMs]);
      }
      const leader = await cluster.leaderOf(stream);
      const sinceMs = Date.now();
      await leader.kill9();
      probes.push([`kill of ${stream}`, await system.probe(priority), sinceMs]);
      await leader.restart();
      await cluster.whole(streams);
    }
    await expectNothingLost();
    // By now the word of every election is here.
    const seen = probes.map(([what, probe, sinceMs]) => [what, system.seen(probe, sinceMs)] as const);
    console.info(`ms after a leader stepped down or was killed:\n${seen.map(asLine).join("\n")}`);
    for (const [what, times] of seen) expectSoonAfterElection(what, times);
  });

  it("loses nothing when a leader hangs", { timeout: 600_000 }, async () => {
    const { cluster } = system;
    const stream = jobStream("normal");
    // One that somebody is connected to.
    const isConnected = async (): Promise<boolean> => {
      const { name } = await cluster.leaderOf(stream);
      return system.buses.some(([, bus]) => bus.info.name === name);
    };
    while (!(await isConnected())) await cluster.stepDown(stream);
    const leader = await cluster.leaderOf(stream);
    const sinceMs = Date.now();
    leader.freeze();
    const connected = system.buses.filter(([, bus]) => bus.info.name === leader.name);
    const [probe, ...left] = await Promise.all([
      system.probe("normal"),
      ...connected.map(async ([name, bus]) => [name, await untilLeft(bus, sinceMs)] as const),
    ]);
    leader.thaw();
    await cluster.whole(streams);
    const seen = system.seen(probe, sinceMs);
    console.info(`ms after SIGSTOP of a leader: left ${left.join(" ")}; ${asLine(["probe", seen])}`);
    await expectNothingLost();
    expect(left.length).toBeGreaterThan(0);
    for (const [name, leftMs] of left) expect(leftMs, `${name} has left`).toBeLessThan(leftWithinMs);
    const electedMs = Math.max(seen.streamElectedMs, seen.consumerElectedMs);
    expect(seen.deliveredMs, "first delivery").toBeLessThan(leftWithinMs + electedMs);
  });

  it("tells which queues wait while two servers are down, and goes on", { timeout: 600_000 }, async () => {
    const { cluster, worker } = system;
    const [first, second] = cluster.nodes;
    if (first === undefined || second === undefined) throw new Error("no servers");
    await Promise.all([first.kill9(), second.kill9()]);
    await expect.poll(() => worker.status().unserved, { timeout: toldWithinMs }).toEqual([queue]);
    expect(worker.status().notice).toContain(queue);
    await Promise.all([first.restart(), second.restart()]);
    await Promise.all(priorityNames.map((priority) => system.probe(priority)));
    await expect.poll(() => worker.status().notice, { timeout: toldWithinMs }).toBe("");
    await cluster.whole(streams);
    await expectNothingLost();
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

/** How long after a moment, Unix ms, a connection was given up. */
async function untilLeft(bus: ClusterSystem["buses"][number][1], sinceMs: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  using _ = bus.onStatus(({ connected }) => {
    if (!connected) resolve();
  });
  await promise;
  return Date.now() - sinceMs;
}

function asLine([what, seen]: readonly [string, Seen]): string {
  const { publishedMs, streamElectedMs, acceptedMs, consumerElectedMs, deliveredMs, startedMs } = seen;
  const elected = `log elected ${streamElectedMs}, consumer ${consumerElectedMs}`;
  return `${what}: published ${publishedMs}, ${elected}, accepted ${acceptedMs}, delivered ${deliveredMs}, started ${startedMs}`;
}
