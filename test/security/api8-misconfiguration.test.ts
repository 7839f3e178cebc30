/** API8:2023, security misconfiguration: what is not needed is off, and answers give nothing away. */
import { connect } from "node:net";
import { once } from "node:events";
import type { JsonObject } from "@bufbuild/protobuf";
import { AuthService, JobService, PluginService, ServerReflection, UserService } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doorNames } from "../lib/doors.ts";
import { Attacker, secured, type Person } from "./attacker.ts";

const attacker = new Attacker("api8", 8);
afterAll(() => attacker[Symbol.dispose]());

let person: Person;
beforeAll(async () => {
  person = await attacker.person("ROLE_OPERATOR");
});

/** Names of files, functions, tables, products and addresses: nobody's business. */
const inner =
  /node_modules|\.ts\b|\bat \w+ \(|postgres|pglite|kysely|select |insert |\bnats\b|jetstream|\/work\/|\/home\/|127\.0\.0\.1:|stack/i;

describe("every answer by HTTP", () => {
  it.for(["/api/v1/jobs", "/api/v1/nothing", "/health/live", "/docs", "/openapi.json", "/metrics", "/ext/none/x"])(
    "protects the browser that gets it: %s",
    async (path) => {
      const { headers } = await attacker.fetch(path);
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect(headers.get("x-frame-options")).toBe("DENY");
      expect(headers.get("referrer-policy")).toBe("no-referrer");
      expect(headers.get("cache-control")).toBe("no-store");
      for (const name of ["server", "x-powered-by", "via"]) expect(headers.get(name)).toBeNull();
    },
  );

  it("is not for pages of other sites", async () => {
    for (const origin of [
      "https://evil.example",
      "null",
      "http://localhost:3000",
      secured.httpUrl.replace("http", "ftp"),
    ]) {
      for (const path of ["/api/v1/jobs", "/millrace.jobs.v1.JobService/ListJobs"]) {
        const preflight = await attacker.fetch(path, {
          method: "OPTIONS",
          headers: {
            origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization",
          },
        });
        expect(preflight.headers.get("access-control-allow-origin")).toBeNull();
        const write = await attacker.fetch(path, {
          method: "POST",
          headers: { origin, "content-type": "application/json", ...person.headers },
          body: '{"type":"t","queue":"api8"}',
        });
        expect([origin, path, write.status]).toEqual([origin, path, 403]);
        expect(write.headers.get("access-control-allow-origin")).toBeNull();
      }
      const read = await attacker.fetch("/api/v1/jobs", { headers: { origin, ...person.headers } });
      expect(read.headers.get("access-control-allow-origin")).toBeNull();
      expect(read.headers.get("access-control-allow-credentials")).toBeNull();
    }
  });
});

describe.each(doorNames)("%s", (name) => {
  const door = attacker.door(name);

  it("gives nothing away in what it refuses", async () => {
    const wrong: [Parameters<typeof door>[0], JsonObject][] = [
      [JobService.method.getJob, { id: "' OR 1=1 --" }],
      [JobService.method.getJob, { id: "no-such-job" }],
      [JobService.method.listJobs, { pageToken: "garbage" }],
      [JobService.method.listJobs, { tag: "\u0000" }],
      [JobService.method.watchJobs, { resumeAfter: "'; drop table jobs" }],
      [UserService.method.getUser, { id: "'" }],
      [AuthService.method.refresh, { refreshToken: "\u0000" }],
      [AuthService.method.completeOidcLogin, { code: "x", state: "\u0000'" }],
      [PluginService.method.getPlugin, { name: "../../etc/passwd" }],
      [PluginService.method.callPlugin, { name: "none", export: "x" }],
      [PluginService.method.uploadPlugin, { manifest: { name: "x", version: "1" }, module: "AGFzbQEAAAA=" }],
      [PluginService.method.getRecording, { jobId: "../x" }],
    ];
    for (const [method, request] of wrong) {
      const said = await door(method, request, person.headers);
      expect([method.name, said.code]).toEqual([
        method.name,
        expect.not.stringMatching(/^(ok|internal|unknown|data_loss)$/),
      ]);
      const text = `${said.message} ${name === "gRPC" ? JSON.stringify(said.headers) : said.raw}`;
      expect([method.name, text.match(inner)?.[0]]).toEqual([method.name, undefined]);
    }
  });

  it("answers in one shape whatever is wrong", async () => {
    const said = await door(JobService.method.submitJob, { type: "no type!" }, person.headers);
    expect(said.code).toBe("invalid_argument");
    expect(said.headers["x-request-id"]).toMatch(/^[\w-]+$/);
    if (name === "REST") {
      const { error } = JSON.parse(said.raw) as { error: JsonObject };
      expect(Object.keys(error).toSorted()).toEqual(["code", "details", "message", "requestId"]);
    }
  });
});

it("reflection is for those who have signed in", async () => {
  const door = attacker.door("gRPC");
  const method = ServerReflection.method.serverReflectionInfo;
  expect((await door(method, { listServices: "" })).code).toBe("unauthenticated");
  const listed = await door(method, { listServices: "" }, person.headers);
  expect(listed.code).toBe("ok");
  expect(listed.raw).not.toContain("Runtime");
});

it.for(["TRACE", "TRACK", "CONNECT", "PROPFIND", "DEBUG", "QUIT"])("the verb %s does nothing", async (verb) => {
  const { hostname, port } = new URL(secured.httpUrl);
  const socket = connect(Number(port), hostname);
  await once(socket, "connect");
  const cookie = "mr_session=not-to-be-seen";
  socket.end(`${verb} /api/v1/jobs HTTP/1.1\r\nHost: ${hostname}\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`);
  let answer = "";
  for await (const chunk of socket) answer += String(chunk);
  expect(answer).not.toContain(cookie);
  expect(answer).not.toMatch(/^HTTP\/1\.1 2/);
  expect(answer.match(inner)).toBeNull();
});

it("OPTIONS alone, unknown types and broken requests get a refusal, and no more", async () => {
  const tries: [RequestInit, number[]][] = [
    [{ method: "OPTIONS" }, [401, 404, 405]],
    [{ method: "POST", headers: { "content-type": "text/xml" }, body: "<a/>" }, [400, 401, 415]],
    [{ method: "POST", headers: { "content-type": "application/json" }, body: "{" }, [400, 401]],
    [{ method: "POST", headers: { "content-encoding": "br" }, body: "x" }, [400, 401, 415, 501]],
  ];
  for (const [init, statuses] of tries) {
    const response = await attacker.fetch("/api/v1/jobs", { ...init, headers: { ...person.headers, ...init.headers } });
    expect(statuses).toContain(response.status);
    expect((await response.text()).match(inner)).toBeNull();
  }
});

it("what health and metrics say to strangers is no more than whether it lives", async () => {
  const ready = await attacker.fetch("/health/ready");
  expect((await ready.text()).match(inner)).toBeNull();
  expect((await attacker.fetch("/metrics")).status).toBe(401);
  for (const path of ["/debug", "/.env", "/.git/config", "/server-status", "/actuator", "/graphql", "/admin"]) {
    expect([path, (await attacker.fetch(path)).status]).toEqual([path, 404]);
  }
});

it("a request id is taken over where it is sane, and cannot break out of a header or a log line", async () => {
  const at = async (id: string) =>
    (await attacker.fetch("/api/v1/jobs", { headers: { "x-request-id": id } })).headers.get("x-request-id");
  expect(await at("mine-1")).toBe("mine-1");
  expect(await at("a b<script>")).not.toBe("a b<script>");
  expect(await at("x".repeat(500))).not.toBe("x".repeat(500));
});
