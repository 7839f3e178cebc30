/** Streams of a former version with three copies: the logs have three, and all jobs, whoever leads. */
import { jobLogs } from "@millrace/protocol";
import { expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { call, jobsOf, makeFormerStreams } from "./former-fixture.ts";
import { canCluster, startTestCluster } from "./test-cluster.ts";

const encoder = new TextEncoder();
const count = 400;

async function copiesOf(bus: Bus, stream: string): Promise<unknown> {
  return ((await call(bus, `STREAM.INFO.${stream}`))["config"] as { num_replicas: unknown }).num_replicas;
}

it.runIf(canCluster())(
  "keeps the copies, the jobs and their order while leaders change",
  { timeout: 240_000 },
  async () => {
    await using cluster = await startTestCluster();
    await using bus = await connectBus({ servers: cluster.url, name: "test" });
    await makeFormerStreams(bus, 3);
    for (let n = 0; n < count; n++) {
      await bus.publishDurable(`jobs.high.mail.send.own-${n}`, encoder.encode(String(n)), [["Nats-Msg-Id", `m${n}`]]);
    }
    await bus.publishDurable("schedule.low.mail.send.later", encoder.encode("later"));

    const changes = new Map<string, Promise<unknown>>();
    const onChange = (log: string, what: string): void => {
      if (log !== "JOBS_HIGH") return;
      if (what === "copy jobs" && !changes.has(what)) changes.set(what, cluster.stepDown("UPGRADE_JOBS_HIGH"));
      if (what === "move jobs" && !changes.has(what)) {
        changes.set(what, cluster.stepDown("JOBS_HIGH"));
        for (const stream of [log, `UPGRADE_${log}`]) changes.set(stream, copiesOf(bus, stream));
      }
    };
    const upgraded = await bus.upgradeStreams({ onChange });
    await Promise.all(changes.values());
    expect(upgraded.map(({ log, moved }) => [log, moved])).toEqual(
      jobLogs.map((log) => [log, log === "JOBS_HIGH" ? count : log === "SCHEDULE" ? 1 : 0]),
    );
    expect([...changes.keys()]).toEqual(["copy jobs", "move jobs", "JOBS_HIGH", "UPGRADE_JOBS_HIGH"]);
    // Also while they were on their way.
    expect(await Promise.all([changes.get("JOBS_HIGH"), changes.get("UPGRADE_JOBS_HIGH")])).toEqual([3, 3]);
    expect((await jobsOf(bus, "JOBS_HIGH")).map(({ id, text }) => [id, text])).toEqual(
      Array.from({ length: count }, (_, n) => [`own-${n}`, String(n)]),
    );
    // As a service that nobody has told of copies: those of the logs stay.
    await bus.ensureTopology();
    const { streams } = await bus.limits();
    expect(streams.filter(({ name }) => jobLogs.includes(name)).map(({ replicas }) => replicas)).toEqual([
      3, 3, 3, 3, 3,
    ]);
    expect(await bus.planUpgrade()).toEqual([]);
  },
);
