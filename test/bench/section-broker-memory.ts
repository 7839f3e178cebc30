import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { jobStream } from "@millrace/protocol";
import { brokerRssMb, restartBroker } from "./broker.ts";
import { BenchChild } from "./child.ts";
import type { Row } from "./report.ts";
import { prepareTopology } from "./topology.ts";

/** Where the ids of the jobs come from: Millrace makes them and sends them in a header, or the client gives them, and subjects hold them. */
type Ids = "made" | "given";

interface BrokerFigures {
  readonly submittedMb: number;
  readonly restartedMb: number;
  readonly restartMs: number;
  readonly killedMs: number;
}

const queue = "mem";
/** What a broker does once it has started, and the collector of its garbage, come to rest. */
const restMs = 5000;

/** What waiting jobs cost the broker, with ids in a header and with ids in the subject, each on a broker of its own. */
export async function measureBrokerMemory(sizes: { readonly waiting: number }): Promise<Row[]> {
  const made = await measure(sizes.waiting, "made");
  const given = await measure(sizes.waiting, "given");
  const jobs = `${sizes.waiting.toLocaleString("en-US")} waiting 256-byte jobs with ids that Millrace makes`;
  const row = (what: string, unit: string, figure: keyof BrokerFigures): Row => ({
    what,
    value: made[figure],
    unit,
    against: [{ name: "with ids in the subject", value: given[figure] }],
  });
  return [
    row(`broker memory with ${jobs}, right after submitting`, "MB", "submittedMb"),
    row(`broker memory with ${jobs}, after a restart`, "MB", "restartedMb"),
    row(`restart of a broker that was stopped, ${jobs}`, "ms", "restartMs"),
    row(`restart of a broker that was killed, ${jobs}`, "ms", "killedMs"),
  ];
}

async function measure(jobs: number, ids: Ids): Promise<BrokerFigures> {
  await using nats = await startTestNats();
  const port = Number(new URL(nats.url).port);
  await prepareTopology(port, [queue]);
  {
    await using client = await BenchChild.start("client-submit.ts", { port });
    await client.go({ jobs, queue, type: "noop", ids });
  }
  const submittedMb = brokerRssMb(nats);
  await using bus = await connectBus({ servers: nats.url, name: "bench-memory" });
  const log = jobStream("normal");
  const holdsAll = async (): Promise<void> => {
    const { messages } = await bus.streamState(log);
    if (messages !== jobs) throw new Error(`${log} holds ${messages} of ${jobs} jobs after the restart`);
  };
  const restartMs = await restartBroker(nats, bus, holdsAll);
  await new Promise((resolve) => setTimeout(resolve, restMs));
  const restartedMb = brokerRssMb(nats);
  await nats.kill9();
  const killedMs = await restartBroker(nats, bus, holdsAll);
  return { submittedMb, restartedMb, restartMs, killedMs };
}
