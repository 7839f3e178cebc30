import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { expect, it, onTestFinished } from "vitest";

// The binary itself: the package's bin script waits for it synchronously and passes no signal on.
const deno = path.resolve(import.meta.dirname, "../../../node_modules/deno/deno");

const program = `
  import { createLogger, createMetrics, Health, loadConfig, runService, serviceSettings, startOpsServer, startTracing, withSpan, z }
    from ${JSON.stringify(path.join(import.meta.dirname, "index.ts"))};
  import process from "node:process";
  const { values } = loadConfig(z.object(serviceSettings), { env: process.env });
  const logger = createLogger({ name: "deno", level: values.logLevel });
  const [health, metrics] = [new Health(), createMetrics()];
  await runService(async () => {
    const server = await startOpsServer({ host: "127.0.0.1", port: 0, health, metrics });
    const tracing = startTracing({ service: "deno", exporter: { export: (_, done) => done({ code: 0 }), shutdown: async () => {} } });
    await withSpan("job", {}, async () => logger.info({ port: server.port }, "up"));
    return { async [Symbol.asyncDispose]() { await tracing[Symbol.asyncDispose](); await server[Symbol.asyncDispose](); } };
  }, { logger });
`;

it("runs under Deno, from start to graceful stop", async () => {
  const child = spawn(deno, ["eval", "--ext=ts", program], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const closed = once(child, "close");
  const messages: unknown[] = [];
  for await (const text of createInterface({ input: child.stdout })) {
    const line = JSON.parse(text) as { msg: string; port?: number; trace_id?: string };
    messages.push(line.msg);
    if (line.msg !== "up") continue;
    expect(line.trace_id).toMatch(/^[0-9a-f]{32}$/);
    const metrics = await fetch(`http://127.0.0.1:${line.port}/metrics`);
    expect(await metrics.text()).toContain("millrace_jobs_running");
    expect((await fetch(`http://127.0.0.1:${line.port}/health/ready`)).status).toBe(200);
    child.kill("SIGTERM");
  }
  await closed;
  expect(messages).toEqual(["up", "stopping", "stopped"]);
  expect(child.exitCode).toBe(0);
});
