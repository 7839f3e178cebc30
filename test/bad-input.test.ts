/** Bad input gets a clear typed error, the same words on each door; nothing is lost and nothing crashes. */
import { createClient, ConnectError } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { bearerToken } from "@millrace/client";
import { JobService, PluginService } from "@millrace/protocol";
import { connect, headers, StringCodec, type NatsConnection } from "nats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ErrorJson } from "./lib/rest.ts";
import { startStandaloneProcess } from "./lib/standalone.ts";

let system: Awaited<ReturnType<typeof startStandaloneProcess>>;
let nats: NatsConnection;
const text = StringCodec();

beforeAll(async () => {
  system = await startStandaloneProcess();
  nats = await connect({ servers: system.natsUrl });
}, 120_000);

afterAll(async () => {
  await nats?.close();
  await system?.[Symbol.asyncDispose]();
}, 60_000);

function refused(status: number, code: string) {
  return { status, body: { error: { code } } };
}

describe("a request that is wrong", () => {
  it("is refused with the same code and words on every door", async () => {
    const bad = { type: "not a type!", queue: "UPPER" };
    const rest = await system.rest.call<ErrorJson>("POST", "/api/v1/jobs", bad);
    expect(rest).toMatchObject(refused(400, "invalid_argument"));
    expect(rest.body.error.details.map((detail) => detail.field).toSorted()).toEqual(["queue", "type"]);
    expect(rest.body.error.requestId).not.toBe("");

    const door = { baseUrl: system.httpUrl, httpVersion: "1.1" as const, interceptors: [bearerToken(system.token)] };
    const transports = {
      connect: createConnectTransport(door),
      connectJson: createConnectTransport({ ...door, useBinaryFormat: false }),
      grpcWeb: createGrpcWebTransport(door),
      grpc: createGrpcTransport({ ...door, baseUrl: `http://${system.grpcAddress}` }),
    };
    for (const [door, transport] of Object.entries(transports)) {
      const error = await createClient(JobService, transport)
        .submitJob(bad)
        .catch((reason: unknown) => ConnectError.from(reason));
      expect(error, door).toBeInstanceOf(ConnectError);
      expect((error as ConnectError).rawMessage, door).toBe(rest.body.error.message);
      expect((error as ConnectError).code, door).toBe(3);
    }
    const reply = await nats.request("rpc.millrace.jobs.v1.JobService.SubmitJob", JSON.stringify(bad), {
      timeout: 5000,
    });
    expect(reply.headers?.get("Millrace-Error")).toBe("invalid_argument");
    expect((JSON.parse(text.decode(reply.data)) as ErrorJson).error.message).toBe(rest.body.error.message);
  });

  it("is refused when it is no JSON, or has an unknown field, or an unknown priority", async () => {
    expect(await system.rest.call("POST", "/api/v1/jobs", "{")).toMatchObject(refused(400, "invalid_argument"));
    const unknown = await system.rest.call<ErrorJson>("POST", "/api/v1/jobs", { type: "audit", colour: "red" });
    expect(unknown).toMatchObject(refused(400, "invalid_argument"));
    expect(JSON.stringify(unknown.body)).toContain("colour");
    expect(await system.rest.call("POST", "/api/v1/jobs", { type: "audit", priority: "URGENT" })).toMatchObject(
      refused(400, "invalid_argument"),
    );
    expect(await system.rest.call("GET", "/api/v1/jobs/nobody")).toMatchObject(refused(404, "not_found"));
    expect(await system.rest.call("GET", "/api/v1/nothing/here")).toMatchObject(refused(404, "not_found"));
    const malformed = await system.rest.fetch("/millrace.jobs.v1.JobService/SubmitJob", {
      method: "POST",
      headers: { "content-type": "application/proto" },
      body: new Uint8Array([0xff, 0xff, 0xff]),
    });
    expect(malformed.status).toBe(400);
  });

  it("is refused when it is too large", async () => {
    const body = JSON.stringify({ type: "audit", payload: { text: "x".repeat(12 << 20) } });
    const answer = await system.rest.fetch("/api/v1/jobs", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    expect(answer.status).toBe(413);
    // Between the broker's bound (1 MiB) and the door's.
    const middle = await system.rest.call("POST", "/api/v1/jobs", {
      type: "audit",
      payload: { text: "x".repeat(2 << 20) },
    });
    expect(middle.status).toBe(413);
  });

  it("conflicts with a job that has ended", async () => {
    await system.rest.submit({ id: "ended", type: "audit", payload: { json: { type: "user.login" } }, waitMs: 5000 });
    await system.rest.jobIn("ended", "JOB_STATE_SUCCEEDED");
    expect((await system.rest.call("POST", "/api/v1/jobs/ended:cancel", {})).status).toBe(409);
    expect((await system.rest.call("POST", "/api/v1/jobs/ended:retry", {})).status).toBe(409);
  });
});

describe("a raw NATS job that is wrong", () => {
  it("becomes a dead letter with its bytes when its headers are garbage", async () => {
    const h = headers();
    h.set("Millrace-Max-Attempts", "lots");
    h.set("Millrace-Run-At", "whenever");
    nats.publish("jobs.normal.default.audit.poisoned", "keep \u0001 me", { headers: h });
    const job = await system.rest.jobIn("poisoned", "JOB_STATE_DEAD");
    expect(job.error).toMatchObject({ code: "POISONED" });
    expect(job.error?.message).toContain("Millrace-Max-Attempts");
    expect(job.payload?.text).toBe("keep \u0001 me");
  });

  it("becomes a dead letter when its queue's name is wrong", async () => {
    nats.publish("jobs.normal.Bad!Queue.audit.misnamed", "x");
    const job = await system.rest.jobIn("misnamed", "JOB_STATE_DEAD");
    expect(job.error?.code).toBe("POISONED");
  });

  it("hears that there is no such priority", async () => {
    await expect(nats.jetstream().publish("jobs.urgent.default.audit", "x")).rejects.toThrow(/503/);
  });

  it("waits, and says why, when nothing handles its type", async () => {
    nats.publish("jobs.normal.default.unheard_of.waiting", "x");
    await expect
      .poll(async () => (await system.rest.job("waiting"))?.waitReason ?? "", { timeout: 10_000 })
      .toContain("unheard_of");
    expect((await system.rest.call("POST", "/api/v1/jobs/waiting:cancel", {})).status).toBe(200);
    await system.rest.jobIn("waiting", "JOB_STATE_CANCELLED");
  });
});

describe("a plugin that is wrong", () => {
  it("is refused when it is no WASM, lacks the export, or asks for unknown imports", async () => {
    const interceptors = [bearerToken(system.token)];
    const transport = createConnectTransport({ baseUrl: system.httpUrl, httpVersion: "1.1", interceptors });
    const client = createClient(PluginService, transport);
    const manifest = { name: "wrong", version: "1.0.0", handlers: [{ type: "wrong", export: "run" }] };
    const refusal = async (module: Uint8Array) =>
      client.uploadPlugin({ manifest, module }).then(
        () => "accepted",
        (error: unknown) => ConnectError.from(error).rawMessage,
      );
    expect(await refusal(new TextEncoder().encode("not a module"))).toMatch(/not valid WebAssembly/);
    const empty = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    expect(await refusal(empty)).toMatch(/run/);
    // (module (import "evil" "f" (func)) (func (export "run") (result i32) i32.const 0))
    const importing = new Uint8Array([
      0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 8, 2, 0x60, 0, 0, 0x60, 0, 1, 0x7f, 2, 10, 1, 4, 0x65, 0x76, 0x69, 0x6c, 1,
      0x66, 0, 0, 3, 2, 1, 1, 7, 7, 1, 3, 0x72, 0x75, 0x6e, 0, 1, 10, 6, 1, 4, 0, 0x41, 0, 0x0b,
    ]);
    expect(WebAssembly.validate(importing)).toBe(true);
    expect(await refusal(importing)).toMatch(/evil/);
  });
});
