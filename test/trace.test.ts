/** One trace follows a job from the request through NATS to the run and the row; logs and metrics tell the same. */
import { once } from "node:events";
import { createServer } from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startStandaloneProcess } from "./lib/standalone.ts";
import { until } from "./lib/until.ts";

interface SpanJson {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
}

interface ExportJson {
  resourceSpans: { scopeSpans: { spans: SpanJson[] }[] }[];
}

const spans: SpanJson[] = [];
/** As an OpenTelemetry collector takes spans: OTLP over HTTP, in JSON. */
const collector = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = JSON.parse(Buffer.concat(chunks).toString()) as ExportJson;
    for (const resource of body.resourceSpans) for (const scope of resource.scopeSpans) spans.push(...scope.spans);
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
});

let system: Awaited<ReturnType<typeof startStandaloneProcess>>;

beforeAll(async () => {
  collector.listen(0, "127.0.0.1");
  await once(collector, "listening");
  const address = collector.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  system = await startStandaloneProcess({ OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${address.port}` });
}, 120_000);

afterAll(async () => {
  await system?.[Symbol.asyncDispose]();
  collector.close();
}, 60_000);

it("follows a job from submit to its row", { timeout: 60_000 }, async () => {
  const traceId = "0af7651916cd43dd8448eb211c80319c";
  const response = await system.rest.fetch("/api/v1/jobs", {
    method: "POST",
    headers: { "content-type": "application/json", traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    body: JSON.stringify({ id: "traced", type: "audit", payload: { json: { type: "user.login" } }, waitMs: 10_000 }),
  });
  expect(response.status).toBe(200);
  await system.rest.jobIn("traced", "JOB_STATE_SUCCEEDED");
  const names = await until(async () => {
    const found = spans.filter((span) => span.traceId === traceId).map((span) => span.name);
    return found.includes("project audit") ? found : undefined;
  }, "the projector's span");
  expect(names).toEqual(
    expect.arrayContaining(["millrace.jobs.v1.JobService/SubmitJob", "run audit", "project audit"]),
  );
});

it("counts the jobs in Prometheus's metrics", { timeout: 60_000 }, async () => {
  const text = await (await system.rest.fetch("/metrics")).text();
  expect(text).toMatch(/^millrace_jobs_submitted_total\{queue="default",priority="normal"\} 1$/m);
  expect(text).toMatch(/^millrace_jobs_completed_total\{queue="default",type="audit"\} 1$/m);
  for (const name of [
    "millrace_jobs_failed_total",
    "millrace_jobs_dead_total",
    "millrace_jobs_pending",
    "millrace_jobs_running",
    "millrace_job_run_seconds",
    "millrace_job_wait_seconds",
    "millrace_workers",
    "millrace_worker_leases",
  ]) {
    expect(text, name).toContain(`# TYPE ${name} `);
  }
  const live = await fetch(`${system.httpUrl}/health/live`);
  expect(live.status).toBe(200);
});
