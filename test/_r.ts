import { BenchChild } from "./bench/child.ts";
import { startNats } from "./bench/servers.ts";
import { prepareTopology } from "./bench/topology.ts";
await using n = await startNats();
await prepareTopology(n.port, ["raw", "noop"]);
await using s = await BenchChild.start("raw-submit.ts", { port: n.port });
await using x = await BenchChild.start("client-submit.ts", { port: n.port });
const J = 60000;
for (let i = 0; i < 3; i++) {
  {
    await using w = await BenchChild.start("raw-worker.ts", { port: n.port, queue: "raw" });
    const t = performance.now();
    const d = w.go({ jobs: J });
    await s.go({ jobs: J, window: 1000, queue: "raw" });
    await d;
    console.log("raw both", (J / (performance.now() - t)) * 1000);
  }
  {
    await using w = await BenchChild.start("millrace-worker.ts", { port: n.port, queues: ["noop"] });
    const t = performance.now();
    const d = w.go({ jobs: J });
    const c = await x.go({ jobs: J, queue: "noop", type: "noop" });
    await d;
    console.log("millrace both", (J / (performance.now() - t)) * 1000, "submit", c.perSecond);
  }
}
