import { Writable } from "node:stream";
import { create, fromJson, toJson, type JsonObject } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@millrace/client";
import { PayloadSchema, PluginSchema, PluginState, type Job } from "@millrace/protocol";
import { describe, expect, it } from "vitest";
import { MemoryServer } from "../testing/memory-server.ts";
import type { DemoCase, DemoOutcome } from "./demo-case.ts";
import { formatReport, reportJson } from "./format-report.ts";
import { createProgress } from "./progress.ts";
import { runDemo } from "./run-demo.ts";

const total = 2500;

/** Numbers into even and odd; every thousandth is refused. */
const numbers: DemoCase = {
  title: "Numbers",
  source: "counted",
  type: "sort_number",
  plugin: "plugins/numbers",
  categoryName: "kind",
  records: async () => Array.from({ length: total }, (_, n) => ({ n })),
  categoryOf: ({ square }) => (Number(square) % 2 === 0 ? "even" : "odd"),
  compute: ({ n }) => {
    if (typeof n !== "number" || n % 1000 === 999) return { accepted: false, reason: "nine nine nine" };
    return { accepted: true, output: { square: n * n } };
  },
};

type Handle = (record: JsonObject) => DemoOutcome;

async function startServer(handle: Handle): Promise<MemoryServer> {
  const server = await MemoryServer.start((job: Job) => {
    const record = job.payload?.content.case === "json" ? toJson(ValueSchema, job.payload.content.value) : {};
    const outcome = handle(record as JsonObject);
    if (!outcome.accepted) return { error: outcome.reason };
    const value = fromJson(ValueSchema, outcome.output);
    return { result: create(PayloadSchema, { content: { case: "json", value } }) };
  });
  const manifest = { name: "numbers", version: "1.0.0", handlers: [{ type: numbers.type, export: "sort" }] };
  server.plugins.plugins.set("numbers", create(PluginSchema, { manifest, state: PluginState.ACTIVE }));
  return server;
}

async function run(server: MemoryServer) {
  let said = "";
  const stream = new Writable({ write: (chunk, _, done) => ((said += String(chunk)), done()) });
  using progress = createProgress(stream);
  await using client = createClient({ baseUrl: server.url });
  const signal = new AbortController().signal;
  const report = await runDemo(client, progress, {
    demo: numbers,
    queue: "default",
    limit: undefined,
    natsUrl: undefined,
    signal,
  });
  return { report, text: formatReport(numbers, report), json: reportJson(numbers, report), said };
}

describe("runDemo", () => {
  it("finds every result as computed", async () => {
    await using server = await startServer(numbers.compute);
    const { report, text, json, said } = await run(server);
    expect(report).toMatchObject({ ok: true, total, rows: { count: total, doubled: 0, open: 0 } });
    expect(text).toContain("checked against the file: equal (2,500 of 2,500 results)");
    expect(text).toMatch(/even +1,250 +1,250 +equal\nodd +1,248 +1,248 +equal/);
    expect(text).toContain('2 × nine nine nine, for example {"n":999}');
    expect(text).toMatch(/latency +p50 \d+ ms {2}p95 \d+ ms {2}p99 \d+ ms/);
    expect(json).toMatchObject({ ok: true, equal: total, categories: { odd: { jobs: 1248, file: 1248 } } });
    expect(said).toContain("finished 2500 of 2500\n");
  });

  it("says which results differ, and which jobs failed", async () => {
    await using server = await startServer((record) => {
      if (record["n"] === 7) return { accepted: true, output: { square: 50 } };
      return record["n"] === 8 ? { accepted: false, reason: "no eight" } : numbers.compute(record);
    });
    const { report, text } = await run(server);
    expect(report.ok).toBe(false);
    expect(report.results.equal).toBe(total - 2);
    expect(Object.fromEntries(report.results.byState)).toEqual({ succeeded: total - 3, dead: 3 });
    expect(text).toContain("DIFFERENT (2,498 of 2,500 results are equal)");
    expect(text).toContain('record 7 {"n":7}: got {"accepted":true,"output":{"square":50}}');
    expect(text).toContain('1 × no eight, for example {"n":8}');
  });

  it("does not start without a plugin", async () => {
    await using server = await startServer(numbers.compute);
    server.plugins.plugins.clear();
    await expect(run(server)).rejects.toMatchObject({ code: "failed_precondition" });
    expect(server.jobs.size).toBe(0);
  });
});
