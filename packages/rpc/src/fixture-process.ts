// A serving process of its own, for tests that kill or stop one: `node fixture-process.ts <url of NATS>`, or `… grpc`. Says `ready`,
// or its address, and then each call.
import { connectBus } from "@millrace/bus";
import type { ServiceImpl } from "@connectrpc/connect";
import { JobService } from "@millrace/protocol";
import { listenHttp2 } from "./fixture.ts";
import { bindService, createPipeline } from "./pipeline.ts";
import { serveNats } from "./serve-nats.ts";

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const jobs: Partial<ServiceImpl<typeof JobService>> = {
  submitJob({ id }) {
    say(`submit ${id}`);
    return new Promise(() => {});
  },
  getJob({ id }) {
    say(`get ${id}`);
    return new Promise(() => {});
  },
  async *watchJobs({ resumeAfter }, { signal }) {
    say(`watch ${resumeAfter}`);
    yield { position: "1" };
    await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  },
};
const pipeline = createPipeline({ services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>)] });
const way = process.argv[2] ?? "";
if (way === "grpc") {
  say((await listenHttp2(pipeline)).url);
} else {
  const bus = await connectBus({ servers: way, name: "fixture" });
  serveNats(bus, pipeline, { takenAfterMs: 50 });
  await bus.flush();
  say("ready");
}
