// A serving process of its own, for tests that kill or stop one: `node fixture-process.ts <url>`. Says `ready`, then each call.
import { connectBus } from "@millrace/bus";
import type { ServiceImpl } from "@connectrpc/connect";
import { JobService } from "@millrace/protocol";
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
const bus = await connectBus({ servers: process.argv[2] ?? "", name: "fixture" });
serveNats(bus, createPipeline({ services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>)] }), {
  takenAfterMs: 50,
});
await bus.flush();
say("ready");
