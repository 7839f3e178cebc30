/** A broker that hangs (its disk is full, its machine swaps) takes calls and answers none; their callers are answered all the same. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { connectBus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { JobService, PluginRuntimeService } from "@millrace/protocol";
import { bindService, createPipeline, openNatsTransport, serveNats, type ServiceImpl } from "@millrace/rpc";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { startGateway } from "./start-gateway.ts";

async function signalBroker(nats: TestNats, signal: NodeJS.Signals): Promise<void> {
  process.kill(Number(await readFile(join(nats.dataDir, "nats.pid"), "utf8")), signal);
}

test(
  "while the broker hangs every call is answered 503, first late and then at once, and health says why",
  { timeout: 60_000 },
  async () => {
    await using stack = new AsyncDisposableStack();
    const nats = stack.use(await startTestNats());
    const bus = stack.use(await connectBus({ servers: nats.url, name: "control" }));
    const jobs: Partial<ServiceImpl<typeof JobService>> = {
      getJob: ({ id }) => ({ job: { id } }),
      submitJob: ({ id }) => ({ id }),
    };
    const services = [
      bindService(JobService, jobs as ServiceImpl<typeof JobService>),
      [PluginRuntimeService, {}] as const,
    ];
    stack.use(serveNats(bus, createPipeline({ services })));
    await bus.flush();
    const transport = stack.use(await openNatsTransport("gateway", { natsUrl: nats.url }));
    const health = new Health();
    stack.use(health.check("nats", () => transport.missing()));
    const { httpUrl } = stack.use(
      await startGateway(
        { ...readGatewayConfig(), httpPort: 0, grpcPort: 0, drainMs: 0 },
        { transport, metrics: createMetrics(), health, logger: createLogger({ name: "gateway", level: "silent" }) },
      ),
    );
    const call = async (init?: RequestInit): Promise<{ status: number; body: string; tookMs: number }> => {
      const startedAt = performance.now();
      const response = await fetch(`${httpUrl}/api/v1/jobs${init === undefined ? "/a" : ""}`, init);
      const body = await response.text();
      return { status: response.status, body, tookMs: performance.now() - startedAt };
    };
    const write = { method: "POST", body: '{"type":"t","id":"w"}' };
    await expect.poll(async () => (await call()).status, { timeout: 10_000 }).toBe(200);

    await signalBroker(nats, "SIGSTOP");
    try {
      const [read, written] = await Promise.all([call(), call(write)]);
      for (const { status, tookMs } of [read, written]) {
        expect(status).toBe(503);
        expect(tookMs).toBeLessThan(20_000);
      }
      expect(written.body).toMatch(/may have been done/);
      const next = await call(write);
      expect(next.status).toBe(503);
      expect(next.tookMs).toBeLessThan(1_000);
      expect(next.body).not.toMatch(/may have been done/);
      const ready = await (await fetch(`${httpUrl}/health/ready`)).json();
      expect(ready.status).toBe("not ready");
      expect(JSON.stringify(ready.missing)).toMatch(
        /"nats","reason":"(the broker has not answered|no connection to the broker)/,
      );
    } finally {
      await signalBroker(nats, "SIGCONT");
    }
    await expect.poll(async () => (await call()).status, { timeout: 10_000 }).toBe(200);
  },
);
