import { readFile } from "node:fs/promises";
import { create } from "@bufbuild/protobuf";
import { encodePluginRecord, EventKind, headerNames, PluginSchema, PluginState } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assemble, PluginFixture } from "./plugin-fixture.ts";
import { startWorker, type Worker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

const fixtures = new URL("../../plugin-host/fixtures/fixtures.wasm", import.meta.url);
const decoder = new TextDecoder();

let world: WorkerFixture;
let worker: Worker;
let sha256: string;
beforeAll(async () => {
  world = await WorkerFixture.start();
  sha256 = await world.bus.modules.put(new Uint8Array(await readFile(fixtures)));
  worker = await startWorker({
    queues: ["default"],
    natsUrl: world.nats.url,
    executors: 1,
    drainTimeoutMs: 3000,
    pluginMemoryPages: 300,
  });
});
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function install(
  name: string,
  exports: Record<string, string>,
  state: PluginState = PluginState.ACTIVE,
): Promise<void> {
  const handlers = Object.entries(exports).map(([type, name]) => ({ type, export: name }));
  const manifest = { name, version: "1.0.0", handlers, limits: { timeoutMs: 300 } };
  const plugin = create(PluginSchema, { manifest, sha256, state });
  await world.bus.kv("plugins").put(name, encodePluginRecord(plugin));
}

test("jobs wait for a plugin, run when it is installed, and die when it is deleted", async () => {
  await world.submit("normal", "default", "echoed", "echo-1", "hello");
  expect((await world.event("echo-1", EventKind.PARKED)).reason).toContain("echoed");
  await install("fixtures", { echoed: "noop" });
  const event = await world.end("echo-1");
  expect(event.errorMessage).toBe("");
  expect(event).toMatchObject({ kind: EventKind.SUCCEEDED });
  expect(decoder.decode(event.result)).toBe("hello");

  await install("fixtures", { echoed: "noop" }, PluginState.RESOLVED);
  await expect.poll(() => worker.status().plugins, { timeout: 20_000 }).not.toContain("fixtures@1.0.0");
  await world.submit("normal", "default", "echoed", "echo-2", "x");
  expect((await world.event("echo-2", EventKind.PARKED)).reason).toContain("disabled");
  await install("fixtures", { echoed: "noop" }, PluginState.UNINSTALLED);
  expect(await world.end("echo-2")).toMatchObject({ kind: EventKind.DEAD, errorCode: "HANDLER_GONE" });
});

test("a plugin's failure is the job's, an endless call costs its thread, and others go on", async () => {
  await install("more", { echoed: "noop", spin: "spin", trap: "trap", missing: "nothing_of_this_name" });
  await world.submit("normal", "default", "trap", "trap-1", "", [[headerNames.maxAttempts, "1"]]);
  expect(await world.end("trap-1")).toMatchObject({ kind: EventKind.DEAD, errorCode: "TRAPPED" });
  await world.submit("normal", "default", "missing", "missing-1");
  expect(await world.end("missing-1")).toMatchObject({ kind: EventKind.DEAD, errorCode: "HANDLER_GONE" });

  await world.submit("normal", "default", "spin", "spin-1", "", [[headerNames.maxAttempts, "1"]]);
  await Promise.all(
    Array.from({ length: 20 }, (_, i) => world.submit("normal", "default", "echoed", `beside-${i}`, `${i}`)),
  );
  expect(await world.end("spin-1")).toMatchObject({ kind: EventKind.DEAD, errorCode: "TIMED_OUT" });
  for (let i = 0; i < 20; i++) expect(await world.end(`beside-${i}`)).toMatchObject({ kind: EventKind.SUCCEEDED });
  expect(worker.status().executorKills).toBe(1);
});

test("a running call is cancelled by ending its thread", async () => {
  await world.submit("normal", "default", "spin", "spin-2", "", [[headerNames.maxAttempts, "1"]]);
  await world.event("spin-2", EventKind.STARTED);
  world.bus.publish("cmd.cancel", new TextEncoder().encode("spin-2"));
  expect(await world.end("spin-2")).toMatchObject({ kind: EventKind.CANCELLED });
});

test("a thousand calls on one thread", async () => {
  await install("more", { echoed: "noop" });
  const data = new TextEncoder().encode("payload");
  await world.bus
    .publisher()
    .publishMany(Array.from({ length: 2000 }, (_, i) => ({ subject: `jobs.normal.default.echoed.m-${i}`, data })));
  const done = () => world.events.filter((e) => e.jobId.startsWith("m-") && e.kind === EventKind.SUCCEEDED).length;
  await expect.poll(done, { timeout: 10_000 }).toBe(2000);
});

test("a plugin gets no more memory than the worker gives, whatever its manifest asks for", async () => {
  const module = await assemble(`(module (memory 1)
    (func (export "grow") (if (i32.eq (memory.grow (i32.const 400)) (i32.const -1)) (then unreachable))))`);
  const handlers = [{ type: "grow", export: "grow" }];
  const manifest = { name: "greedy", version: "1.0.0", handlers, limits: { memoryPages: 65_536 } };
  await new PluginFixture(world).install(module, { manifest });
  await world.submit("normal", "default", "grow", "grow-1", "", [[headerNames.maxAttempts, "1"]]);
  const { kind, errorCode, errorMessage } = await world.end("grow-1");
  expect({ kind, errorCode }).toEqual({ kind: EventKind.DEAD, errorCode: "OUT_OF_MEMORY" });
  expect(errorMessage).toContain("the limit is 300");
});
