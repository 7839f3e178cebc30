import { freePort } from "../lib/process.ts";
import { BenchChild } from "./child.ts";
import type { Row } from "./report.ts";
import type { Sizes } from "./section-jobs.ts";
import { startNats } from "./servers.ts";

/** One unary call between two processes: by the NATS transport, and by HTTP with JSON. */
export async function measureInternalCalls(sizes: Sizes): Promise<Row[]> {
  await using nats = await startNats();
  const [port, http2Port] = [await freePort(), await freePort()];
  await using _natsServer = await BenchChild.start("nats-rpc-server.ts", { port: nats.port });
  await using _httpServer = await BenchChild.start("connect-node-server.ts", { port, http2Port });
  await using byNats = await BenchChild.start("rpc-client.ts", { natsPort: nats.port });
  await using byHttp = await BenchChild.start("rpc-client.ts", { httpPort: port });
  const rates = { nats: 0, http: 0 };
  for (let round = 0; round < 3; round++) {
    rates.nats = Math.max(rates.nats, (await byNats.go({ calls: sizes.requests }))["perSecond"]!);
    rates.http = Math.max(rates.http, (await byHttp.go({ calls: sizes.requests / 4 }))["perSecond"]!);
  }
  return [
    {
      what: "internal unary call, NATS transport, two processes, 50 in flight",
      value: rates.nats,
      unit: "calls/s",
      against: [{ name: "the same by HTTP/1.1 and JSON (connect-node)", value: rates.http, atLeast: 2.1 }],
    },
  ];
}
