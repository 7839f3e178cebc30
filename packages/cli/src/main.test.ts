import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { create } from "@bufbuild/protobuf";
import { PayloadSchema } from "@millrace/protocol";
import { MemoryServer } from "./testing/memory-server.ts";
import { spawnMillrace } from "./testing/spawn-millrace.ts";

let server: MemoryServer;

beforeAll(async () => {
  server = await MemoryServer.start((job) => ({ result: job.payload ?? create(PayloadSchema) }));
});

afterAll(() => server[Symbol.asyncDispose]());

it("reads standard input, writes standard output, and ends with the command's code", async () => {
  const submit = ["--server", server.url, "submit", "echo", "-", "--wait", "--json"];
  const { code, stdout, stderr } = await spawnMillrace(submit, { input: "plain words" });
  expect([code, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toMatchObject({ output: { text: "plain words" } });
  expect((await spawnMillrace(["get"])).code).toBe(2);
});

it("keeps Node's remarks on the sandbox's experimental parts to itself", async () => {
  const { stderr } = await spawnMillrace(["plugin", "test", join(import.meta.dirname, "../../../plugins/redact")]);
  expect(stderr).not.toContain("ExperimentalWarning");
});
