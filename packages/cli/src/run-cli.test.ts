import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { JobState, PayloadSchema, Priority } from "@millrace/protocol";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { MemoryServer } from "./testing/memory-server.ts";
import { runMillrace, type RunOptions } from "./testing/run-millrace.ts";

let server: MemoryServer;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-cli-"));
  server = await MemoryServer.start((job) => {
    if (job.type === "echo") return { result: job.payload ?? create(PayloadSchema) };
    return job.type === "fail" ? { error: "it is broken" } : undefined;
  });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

beforeEach(() => {
  server.jobs.clear();
});

const run = (args: string[], options?: RunOptions) => runMillrace(["--server", server.url, ...args], options);

async function runJson(args: string[], options?: RunOptions) {
  const { code, stdout, stderr } = await run([...args, "--json"], options);
  expect(stderr).toBe("");
  return { code, value: JSON.parse(stdout) as unknown };
}

describe("submit", () => {
  it("submits with all options", async () => {
    const { code, stdout } = await run([
      "submit",
      "send",
      '{"to":"a"}',
      "-q",
      "emails",
      "-p",
      "high",
      "--id",
      "j1",
      "-t",
      "a",
      "-t",
      "b",
      "--max-attempts",
      "2",
    ]);
    expect([code, stdout]).toEqual([0, "j1\n"]);
    const job = server.jobs.get("j1");
    expect(job).toMatchObject({
      type: "send",
      queue: "emails",
      priority: Priority.HIGH,
      tags: ["a", "b"],
      maxAttempts: 2,
    });
    expect(job?.payload?.content.case).toBe("json");
  });

  it.each<[string, string[], RunOptions, string]>([
    ["standard input", ["-"], { input: "plain words" }, "text"],
    ["bytes of standard input", ["-"], { input: new Uint8Array([255, 254, 0]) }, "raw"],
    ["an argument", ["{not json"], {}, "text"],
  ])("takes the payload from %s", async (_, args, options, kind) => {
    const { value } = await runJson(["submit", "t", ...args], options);
    const [job] = server.jobs.values();
    expect(value).toEqual({ id: job?.id, duplicate: false });
    expect(job?.payload?.content.case).toBe(kind);
  });

  it("takes the payload from a file, and says when there is none", async () => {
    await writeFile(join(folder, "payload.json"), '[1,{"a":null}]');
    const { value } = await runJson(["submit", "echo", `@${join(folder, "payload.json")}`, "--wait"]);
    expect(value).toMatchObject({ state: "JOB_STATE_SUCCEEDED", output: { json: [1, { a: null }] } });
    const { code, stderr } = await run(["submit", "echo", "@/no/such/file"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("cannot read /no/such/file")]);
  });

  it("waits: 0 when the job succeeded, 1 when it did not, 6 when the time is over", async () => {
    expect(await run(["submit", "echo", "hello", "--wait"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/result +hello/),
    });
    expect(await run(["submit", "fail", "--wait", "5s"])).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("it is broken"),
    });
    expect(await run(["submit", "slow", "--wait", "200ms"])).toMatchObject({
      code: 6,
      stderr: expect.stringContaining("goes on"),
    });
  });
});

describe("exit codes", () => {
  it.each<[string, string[], number, string]>([
    ["help", ["--help"], 0, ""],
    ["no such command", ["frobnicate"], 2, "unknown command"],
    ["a missing argument", ["plugin", "get"], 2, "missing required argument 'name'\n(see millrace plugin get --help)"],
    [
      "an address without http",
      ["--server", "localhost:8080", "info"],
      2,
      "--server: localhost:8080 is not an address",
    ],
    ["a wrong number", ["list", "-n", "many"], 2, "whole number"],
    ["a wrong state", ["list", "--state", "asleep"], 2, "one of scheduled"],
    ["a wrong time", ["submit", "t", "--run-at", "tomorrow"], 2, "It must be a time"],
    ["no such job", ["get", "none"], 3, "no job none"],
    ["a conflict", ["submit", "refused"], 4, "has the unique key"],
  ])("%s", async (_, args, expected, words) => {
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout + stderr]).toEqual([expected, expect.stringContaining(words)]);
  });

  it("no server: 5, and what to do", async () => {
    const { code, stderr } = await runMillrace(["get", "x"], { env: { MILLRACE_URL: "http://127.0.0.1:9" } });
    expect(code).toBe(5);
    expect(stderr).toContain("cannot reach http://127.0.0.1:9: nothing listens there");
    expect(stderr).toContain("npm start");
  });

  it("a server of another kind: 5, and what it said", async () => {
    const other = createServer((_, response) => response.writeHead(404, { "content-type": "text/html" }).end("<html>"));
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`;
    const { code, stderr } = await runMillrace(["--server", url, "info"]);
    other.close();
    expect([code, stderr]).toEqual([5, `millrace: ${url} does not answer as a Millrace server does: HTTP 404\n`]);
  });

  it("errors are JSON for programs", async () => {
    const { stderr } = await run(["get", "none", "--json"]);
    expect(JSON.parse(stderr)).toEqual({ error: { code: "not_found", message: "no job none", details: [] } });
  });
});

describe("jobs", () => {
  it("shows, lists page by page, cancels and retries", async () => {
    for (const id of ["a", "b", "c"]) await run(["submit", "t", "--id", id, "-q", "mail"]);
    expect(await runJson(["get", "a"])).toMatchObject({
      code: 0,
      value: { job: { id: "a", state: "JOB_STATE_QUEUED" } },
    });
    const { value } = await runJson(["list", "-q", "mail", "-n", "2"]);
    expect(value).toMatchObject({ jobs: [{ id: "a" }, { id: "b" }], nextPageToken: "2" });
    const page = await run(["list", "-q", "mail", "-n", "2", "--page-token", "2", "--state", "queued,running"]);
    expect(page.stdout).toMatch(/^ID +STATE +QUEUE.*\nc +queued +mail +t +normal/);
    expect((await run(["cancel", "a"])).stdout).toBe("a is cancelled\n");
    expect((await run(["cancel", "a"])).code).toBe(4);
    expect((await run(["retry", "a"])).stdout).toBe("a runs again, run 2\n");
  });

  it("watches a job to its end", async () => {
    await run(["submit", "t", "--id", "w"]);
    const watched = server.whenWatched("w");
    const watching = run(["watch", "w", "--json"]);
    await watched;
    server.move("w", JobState.RUNNING);
    server.move("w", JobState.SUCCEEDED);
    const { code, stdout } = await watching;
    expect(code).toBe(0);
    const lines = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event?: { kind: string } });
    expect(lines.map((line) => line.event?.kind)).toEqual([undefined, "running", "succeeded"]);
  });

  it("keeps control characters of a job away from the terminal", async () => {
    await run(["submit", "t", "\u001b[2Jgone", "--id", "esc"]);
    expect((await run(["get", "esc"])).stdout).toContain("\u{fffd}[2Jgone");
  });
});

describe("queues", () => {
  it("shows counts, pauses and resumes", async () => {
    await run(["submit", "t", "-q", "mail"]);
    expect((await run(["queue", "pause", "mail"])).code).toBe(0);
    expect((await run(["queues"])).stdout).toMatch(/mail \(paused\) +0 +1 .*normal 1/);
    expect((await run(["queue", "resume", "mail"])).code).toBe(0);
    expect((await runJson(["queues", "mail"])).value).toMatchObject({ queues: [{ queue: "mail", queued: "1" }] });
  });
});

describe("queue limit", () => {
  it("bounds what is given and leaves the other bound as it is", async () => {
    expect(await run(["queue", "limit", "mail", "--bytes", "1.5GiB"])).toMatchObject({
      code: 0,
      stdout: "in mail may wait: any number of jobs, 1610612736 bytes\n",
    });
    await run(["queue", "limit", "mail", "--jobs", "1000"]);
    expect(server.limits.get("mail")).toEqual({ maxWaitingJobs: 1000n, maxWaitingBytes: 1_610_612_736n });
    const taken = await runJson(["queue", "limit", "mail", "--bytes", "0"]);
    expect(taken.value).toEqual({ queue: "mail", maxWaitingJobs: "1000", maxWaitingBytes: "0" });
  });

  it("says what a size looks like, and that something is to be bounded", async () => {
    const wrong = await run(["queue", "limit", "mail", "--bytes", "64M"]);
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("a size such as 500MB, 64MiB or 2GiB")]);
    const nothing = await run(["queue", "limit", "mail"]);
    expect([nothing.code, nothing.stderr]).toEqual([2, expect.stringContaining("--bytes <size>")]);
  });
});

it("publishes an event", async () => {
  expect(await run(["event", "publish", "order.paid", '{"user":"ada"}', "--id", "e1"])).toMatchObject({
    code: 0,
    stdout: "e1\n",
  });
  expect(server.published.at(-1)).toMatchObject({
    name: "order.paid",
    id: "e1",
    data: { kind: { case: "structValue" } },
  });
});

it("says which server answers", async () => {
  expect((await run(["info"])).stdout).toMatch(/name +memory\nversion +0\.1\.0/);
});
