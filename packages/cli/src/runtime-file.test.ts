import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { findNatsUrl } from "./runtime-file.ts";

let env: { MILLRACE_DATA_DIR: string };

beforeAll(async () => {
  env = { MILLRACE_DATA_DIR: await mkdtemp(join(tmpdir(), "millrace-runtime-")) };
  const facts = {
    pid: 1,
    httpUrl: "http://127.0.0.1:8080",
    grpcAddress: "127.0.0.1:9090",
    natsUrl: "nats://127.0.0.1:4242",
  };
  await writeFile(join(env.MILLRACE_DATA_DIR, "runtime.json"), JSON.stringify(facts));
});

afterAll(() => rm(env.MILLRACE_DATA_DIR, { recursive: true }));

it("takes the NATS server of the system that answers there, and of no other", async () => {
  expect(await findNatsUrl(env, "http://localhost:8080/")).toBe("nats://127.0.0.1:4242");
  expect(await findNatsUrl(env, "http://127.0.0.1:9000")).toBeUndefined();
  expect(await findNatsUrl({ MILLRACE_DATA_DIR: "/none" }, "http://127.0.0.1:8080")).toBeUndefined();
  expect(await findNatsUrl({ ...env, NATS_URL: "nats://here" }, "http://127.0.0.1:9000")).toBe("nats://here");
});
