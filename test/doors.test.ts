/** Each front door, tried with a client that is not ours. */
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";
import { bearerToken } from "@millrace/client";
import { GetJobRequestSchema, GetJobResponseSchema, JobService, JobState } from "@millrace/protocol";
import { connect, headers, StringCodec, type NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root } from "./lib/process.ts";
import { startStandaloneProcess } from "./lib/standalone.ts";

type System = Awaited<ReturnType<typeof startStandaloneProcess>>;
let system: System;
let nats: NatsConnection;

/** Where a browser's page comes from that may call. */
const app = "http://127.0.0.1:5173";
const login = { type: "user.login", actor: "ada", success: true };
const text = StringCodec();

beforeAll(async () => {
  system = await startStandaloneProcess({ MILLRACE_ALLOW_ORIGINS: app });
  nats = await connect({ servers: system.natsUrl });
}, 120_000);

afterAll(async () => {
  await nats?.close();
  await system?.[Symbol.asyncDispose]();
}, 60_000);

describe("raw NATS", () => {
  it("makes a job of a bare publish, with and without an id", async () => {
    nats.publish("jobs.high.default.audit.raw-1", JSON.stringify(login));
    const job = await system.rest.jobIn("raw-1", "JOB_STATE_SUCCEEDED");
    expect(job).toMatchObject({ queue: "default", type: "audit", priority: "PRIORITY_HIGH", attempt: 1 });
    expect(job.payload?.json).toEqual(login);
    expect(job.result?.json).toMatchObject({ event: "user.login" });

    const ack = await nats.jetstream().publish("jobs.low.default.audit", JSON.stringify({ ...login, actor: "no-id" }));
    expect(ack.stream).toBe("JOBS_LOW");
    const list = async () =>
      (await system.rest.call<{ jobs?: { id: string; state: string }[] }>("GET", "/api/v1/jobs?priority=PRIORITY_LOW"))
        .body.jobs;
    await expect.poll(list, { timeout: 10_000 }).toMatchObject([{ state: "JOB_STATE_SUCCEEDED" }]);
  });

  it("reads options from headers", async () => {
    const h = headers();
    h.set("Millrace-Tags", "eu,night");
    h.set("Millrace-Max-Attempts", "2");
    h.set("Millrace-Correlation-Id", "c-7");
    nats.publish("jobs.normal.default.audit.raw-2", JSON.stringify(login), { headers: h });
    const job = await system.rest.jobIn("raw-2", "JOB_STATE_SUCCEEDED");
    expect(job).toMatchObject({ tags: ["eu", "night"], maxAttempts: 2, correlationId: "c-7" });
  });

  it("serves the contract by request-reply, in JSON and in protobuf", async () => {
    const json = await nats.request("rpc.millrace.jobs.v1.JobService.GetJob", JSON.stringify({ id: "raw-1" }), {
      timeout: 5000,
    });
    expect(JSON.parse(text.decode(json.data))).toMatchObject({ job: { id: "raw-1", state: "JOB_STATE_SUCCEEDED" } });

    const binary = await nats.request(
      "rpc.millrace.jobs.v1.JobService.GetJob",
      toBinary(GetJobRequestSchema, create(GetJobRequestSchema, { id: "raw-1" })),
      { timeout: 5000 },
    );
    expect(fromBinary(GetJobResponseSchema, binary.data).job?.state).toBe(JobState.SUCCEEDED);

    const waited = await nats.request(
      "rpc.millrace.jobs.v1.JobService.SubmitJob",
      JSON.stringify({ type: "audit", payload: { json: login }, waitMs: 5000 }),
      { timeout: 8000 },
    );
    expect(JSON.parse(text.decode(waited.data))).toMatchObject({ result: { state: "JOB_STATE_SUCCEEDED" } });

    const missing = await nats.request("rpc.millrace.jobs.v1.JobService.GetJob", JSON.stringify({ id: "nobody" }), {
      timeout: 5000,
    });
    expect(missing.headers?.get("Millrace-Error")).toBe("not_found");
    expect(JSON.parse(text.decode(missing.data))).toMatchObject({ error: { code: "not_found" } });
  });
});

describe("REST", () => {
  it("submits, waits, gets and lists", async () => {
    const submitted = await system.rest.submit({ id: "rest-1", type: "audit", payload: { json: login }, waitMs: 5000 });
    expect(submitted).toMatchObject({ id: "rest-1", result: { state: "JOB_STATE_SUCCEEDED" } });
    await system.rest.jobIn("rest-1", "JOB_STATE_SUCCEEDED");
    const listed = await system.rest.call<{ jobs: { id: string }[] }>("GET", "/api/v1/jobs?queue=default&pageSize=500");
    expect(listed.body.jobs.map((job) => job.id)).toContain("rest-1");
  });

  it("pages through a list without missing or repeating a job", async () => {
    const ids = Array.from({ length: 23 }, (_, i) => `page-${i}`);
    const answer = await system.rest.call<{ outcomes: { id: string }[] }>("POST", "/api/v1/jobs:batch", {
      jobs: ids.map((id) => ({ id, type: "audit", payload: { json: login }, tags: ["paging"] })),
    });
    expect(answer.status).toBe(200);
    for (const id of ids) await system.rest.jobIn(id, "JOB_STATE_SUCCEEDED");
    const seen: string[] = [];
    let token = "";
    do {
      const page = await system.rest.call<{ jobs?: { id: string }[]; nextPageToken?: string }>(
        "GET",
        `/api/v1/jobs?tag=paging&pageSize=5&pageToken=${encodeURIComponent(token)}`,
      );
      seen.push(...(page.body.jobs ?? []).map((job) => job.id));
      token = page.body.nextPageToken ?? "";
    } while (token !== "");
    expect(seen.toSorted()).toEqual(ids.toSorted());
  });

  it("streams events as Server-Sent Events, and resumes after the last one", async () => {
    await system.rest.submit({ id: "sse-1", type: "audit", payload: { json: login }, waitMs: 5000 });
    await system.rest.jobIn("sse-1", "JOB_STATE_SUCCEEDED");
    const response = await system.rest.fetch("/api/v1/jobs/sse-1/events", {
      headers: { accept: "text/event-stream" },
    });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const whole = await response.text();
    expect(whole).toContain("JOB_STATE_SUCCEEDED");
    const id = /^id: ?(.+)$/m.exec(whole)?.[1];
    expect(id).toMatch(/^\d+\.\d+$/);

    const abort = new AbortController();
    const tail = await system.rest.fetch("/api/v1/events?type=audit", {
      headers: { accept: "text/event-stream", "last-event-id": id ?? "" },
      signal: abort.signal,
    });
    await system.rest.submit({ id: "sse-2", type: "audit", payload: { json: login } });
    let seen = "";
    for await (const chunk of tail.body!.pipeThrough(new TextDecoderStream())) {
      seen += chunk;
      if (seen.includes("sse-2") && seen.includes("succeeded")) break;
    }
    abort.abort();
    expect(seen).not.toContain('"sse-1"');
  });

  it("describes itself as OpenAPI 3.1, and shows a page", async () => {
    const { body } = await system.rest.call<{ openapi: string; paths: Record<string, unknown> }>(
      "GET",
      "/openapi.json",
    );
    expect(body.openapi).toMatch(/^3\.1/);
    expect(Object.keys(body.paths)).toContain("/api/v1/jobs/{id}");
    const page = await fetch(`${system.httpUrl}/docs`);
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toContain("text/html");
  });
});

describe("Connect", () => {
  it("serves a Connect client, unary and streams", async () => {
    const interceptors = [bearerToken(system.token)];
    const transport = createConnectTransport({ baseUrl: system.httpUrl, httpVersion: "1.1", interceptors });
    const client = createClient(JobService, transport);
    const { id } = await client.submitJob({
      type: "audit",
      payload: { content: { case: "text", value: JSON.stringify(login) } },
    });
    const states: JobState[] = [];
    for await (const { update } of client.watchJob({ id })) {
      if (update.case === "job") states.push(update.value.state);
      if (update.case === "event") states.push(update.value.state);
    }
    expect(states.at(-1)).toBe(JobState.SUCCEEDED);
  });

  it("answers the preflight of a browser whose page may call, and of no other", async () => {
    const preflight = (origin: string) =>
      fetch(`${system.httpUrl}/millrace.jobs.v1.JobService/GetJob`, {
        method: "OPTIONS",
        headers: {
          origin,
          "access-control-request-method": "POST",
          "access-control-request-headers": "content-type,connect-protocol-version",
        },
      });
    const { headers } = await preflight(app);
    expect(headers.get("access-control-allow-origin")).toBe(app);
    expect(headers.get("access-control-allow-headers")?.toLowerCase()).toContain("connect-protocol-version");
    expect((await preflight("http://127.0.0.1:9999")).headers.get("access-control-allow-origin")).toBeNull();
  });
});

/** As much of grpc-js's dynamic client as the test uses. */
type Dynamic = grpc.Client & Record<string, (...args: unknown[]) => unknown>;

/** Says who calls. */
function metadata(): grpc.Metadata {
  const known = new grpc.Metadata();
  known.set("authorization", `Bearer ${system.token}`);
  return known;
}

function grpcClient(): Dynamic {
  const definition = loader.loadSync("millrace/jobs/v1/job_service.proto", {
    includeDirs: [join(root, "proto")],
    enums: String,
    longs: Number,
  });
  const loaded = grpc.loadPackageDefinition(definition) as unknown as {
    millrace: { jobs: { v1: { JobService: new (address: string, credentials: grpc.ChannelCredentials) => Dynamic } } };
  };
  return new loaded.millrace.jobs.v1.JobService(system.grpcAddress, grpc.credentials.createInsecure());
}

describe("gRPC", () => {
  it("serves grpc-js with the .proto loaded at run time", async () => {
    const client = grpcClient();
    try {
      const submitted = await new Promise<{ id: string; result: { state: string } }>((resolve, reject) => {
        client["SubmitJob"]!(
          { type: "audit", payload: { text: JSON.stringify(login) }, waitMs: 5000 },
          metadata(),
          (error: Error | null, value: { id: string; result: { state: string } }) =>
            error ? reject(error) : resolve(value),
        );
      });
      expect(submitted.result.state).toBe("JOB_STATE_SUCCEEDED");

      const events: unknown[] = [];
      const stream = client["WatchJob"]!({ id: submitted.id }, metadata()) as grpc.ClientReadableStream<unknown>;
      for await (const message of stream) events.push(message);
      expect(events.length).toBeGreaterThan(0);

      const totals = await new Promise<{ accepted: number }>((resolve, reject) => {
        const upload = client["StreamJobs"]!(metadata(), (error: Error | null, value: { accepted: number }) =>
          error ? reject(error) : resolve(value),
        ) as grpc.ClientWritableStream<unknown>;
        for (let i = 0; i < 50; i++) upload.write({ type: "audit", payload: { text: JSON.stringify(login) } });
        upload.end();
      });
      expect(totals.accepted).toBe(50);

      const refused = await new Promise<grpc.ServiceError>((resolve) => {
        client["GetJob"]!({ id: "nobody" }, metadata(), (error: grpc.ServiceError) => resolve(error));
      });
      expect(refused.code).toBe(grpc.status.NOT_FOUND);
    } finally {
      client.close();
    }
  });

  it("tells its health", async () => {
    const definition = loader.loadSync("grpc/health/v1/health.proto", {
      includeDirs: [join(root, "proto")],
      enums: String,
    });
    const loaded = grpc.loadPackageDefinition(definition) as unknown as {
      grpc: { health: { v1: { Health: new (address: string, credentials: grpc.ChannelCredentials) => Dynamic } } };
    };
    const client = new loaded.grpc.health.v1.Health(system.grpcAddress, grpc.credentials.createInsecure());
    const status = await new Promise((resolve, reject) => {
      client["Check"]!({}, (error: Error | null, value: { status: string }) =>
        error ? reject(error) : resolve(value.status),
      );
    });
    client.close();
    expect(status).toBe("SERVING");
  });

  it("reflects its services", async () => {
    const definition = loader.loadSync("grpc/reflection/v1/reflection.proto", { includeDirs: [join(root, "proto")] });
    const loaded = grpc.loadPackageDefinition(definition) as unknown as {
      grpc: {
        reflection: {
          v1: { ServerReflection: new (address: string, credentials: grpc.ChannelCredentials) => Dynamic };
        };
      };
    };
    const client = new loaded.grpc.reflection.v1.ServerReflection(
      system.grpcAddress,
      grpc.credentials.createInsecure(),
    );
    const stream = client["ServerReflectionInfo"]!(metadata()) as grpc.ClientDuplexStream<
      unknown,
      { listServicesResponse: { service: { name: string }[] } }
    >;
    stream.write({ listServices: "" });
    const answer = await new Promise<{ listServicesResponse: { service: { name: string }[] } }>((resolve, reject) => {
      stream.once("data", resolve);
      stream.once("error", reject);
    });
    stream.end();
    client.close();
    expect(answer.listServicesResponse.service.map((service) => service.name)).toContain("millrace.jobs.v1.JobService");
  });
});
