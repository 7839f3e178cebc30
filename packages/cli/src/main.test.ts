import { spawn } from "node:child_process";
import { once } from "node:events";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
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

it.runIf(process.platform === "linux")("says that the output cannot be written", async () => {
  const full = await open("/dev/full", "w");
  const args = [join(import.meta.dirname, "main.ts"), "--server", server.url, "info"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", full.fd, "pipe"] });
  const [said] = await Promise.all([text(child.stderr!), once(child, "close")]);
  await full.close();
  expect([child.exitCode, said]).toEqual([70, expect.stringMatching(/^millrace: the output cannot be written: .*\n$/)]);
});
