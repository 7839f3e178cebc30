import { expect, it } from "vitest";
import { createMetrics } from "./create-metrics.ts";
import { Health } from "./health.ts";
import { startOpsServer } from "./start-ops-server.ts";

it("serves health and metrics", async () => {
  const health = new Health();
  const metrics = createMetrics();
  await using server = await startOpsServer({ host: "127.0.0.1", port: 0, health, metrics });
  const get = async (path: string, method = "GET"): Promise<{ status: number; text: string }> => {
    const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
    return { status: response.status, text: await response.text() };
  };

  const nats = health.part("nats");
  let database: string | undefined = "connection refused";
  using _check = health.check("database", async () => database);
  using _broken = health.check("flaky", () => {
    if (database !== undefined) throw new Error("boom");
    return undefined;
  });
  expect(await get("/health/live")).toEqual({ status: 200, text: '{"status":"live"}' });
  const notReady = await get("/health/ready?verbose");
  expect(notReady.status).toBe(503);
  expect(JSON.parse(notReady.text)).toEqual({
    status: "not ready",
    missing: [
      { part: "nats", reason: "starting" },
      { part: "database", reason: "connection refused" },
      { part: "flaky", reason: "boom" },
    ],
  });
  nats.ready();
  database = undefined;
  expect(await get("/health/ready")).toEqual({ status: 200, text: '{"status":"ready","missing":[]}' });
  using _warning = health.warn("logs", () => "log JOBS_LOW is filling up");
  const degraded = await get("/health/ready");
  expect(degraded.status).toBe(200);
  expect(JSON.parse(degraded.text)).toMatchObject({
    status: "ready",
    degraded: [{ part: "logs", reason: "log JOBS_LOW is filling up" }],
  });

  metrics.jobsSubmitted.inc({ queue: "default", priority: "high" }, 3);
  using _scrape = metrics.beforeScrape(async () => metrics.jobsPending.set({ queue: "default", priority: "low" }, 7));
  const { status, text } = await get("/metrics");
  expect(status).toBe(200);
  expect(text).toContain('millrace_jobs_submitted_total{queue="default",priority="high"} 3');
  expect(text).toContain('millrace_jobs_pending{queue="default",priority="low"} 7');
  for (const name of [
    "jobs_completed_total",
    "jobs_failed_total",
    "jobs_dead_total",
    "job_run_seconds",
    "job_wait_seconds",
  ]) {
    expect(text).toContain(`# TYPE millrace_${name} `);
  }

  expect((await get("/elsewhere")).status).toBe(404);
  expect((await get("/metrics", "POST")).status).toBe(405);
  health.breakDown("the kernel lost its root");
  expect((await get("/health/live")).status).toBe(503);
});

it("of two parts that warn under one name none is silenced", () => {
  const health = new Health();
  using _first = health.warn("logs", () => "first");
  expect(() => health.warn("logs", () => "second")).toThrow("two parts warn under the name logs");
});
