import { create, fromBinary, toBinary, toJsonString, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  EventKind,
  headerNames,
  InvokePluginRequestSchema,
  InvokePluginResponseSchema,
  PluginKeySchema,
  PluginManifestSchema,
  PluginStatsSchema,
  pluginKeyId,
  signPlugin,
} from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { assemble, PluginFixture } from "./plugin-fixture.ts";
import { canaryShare } from "./plugins/canary-share.ts";
import { startWorker, type Worker } from "./start-worker.ts";
import { WorkerFixture } from "./testing.ts";

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** A module whose `say` gives back a word, and whose `loop` never ends. */
function saying(word: string): Promise<Uint8Array> {
  const stores = [...encoder.encode(word)].map(
    (byte, i) => `(call $store (i64.add (local.get $at) (i64.const ${i})) (i32.const ${byte}))`,
  );
  return assemble(`(module
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (import "extism:host/env" "store_u8" (func $store (param i64 i32)))
    (import "extism:host/env" "output_set" (func $output (param i64 i64)))
    (func (export "say") (result i32) (local $at i64)
      (local.set $at (call $alloc (i64.const ${word.length})))
      ${stores.join("\n")}
      (call $output (local.get $at) (i64.const ${word.length}))
      (i32.const 0))
    (func (export "loop") (result i32) (loop $forever (br $forever)) (i32.const 0))
    (func (export "hidden") (result i32) (i32.const 0))
    (func (export "on_enable") (result i32) (i32.const 0)))`);
}

let world: WorkerFixture;
let worker: Worker;
let plugins: PluginFixture;
beforeAll(async () => {
  world = await WorkerFixture.start();
  plugins = new PluginFixture(world);
  worker = await startWorker({ queues: ["default"], natsUrl: world.nats.url, executors: 1, drainTimeoutMs: 2000 });
});
afterAll(async () => {
  await worker[Symbol.asyncDispose]();
  await world[Symbol.asyncDispose]();
});

async function run(type: string, id: string): Promise<string> {
  await world.submit("normal", "default", type, id, "", [[headerNames.maxAttempts, "1"]]);
  const event = await world.end(id);
  return event.kind === EventKind.SUCCEEDED ? decoder.decode(event.result) : event.errorMessage;
}

async function invoke(request: MessageInitShape<typeof InvokePluginRequestSchema>) {
  const data = toBinary(InvokePluginRequestSchema, create(InvokePluginRequestSchema, request));
  const answer = await world.bus.request("invoke.plugin", data, { timeoutMs: 5000 });
  return fromBinary(InvokePluginResponseSchema, answer.data.slice());
}

test("a canary takes its share of jobs, by their ids, until it is gone", async () => {
  const handlers = [{ type: "share", export: "say" }];
  const serving = { name: "share", version: "1.0.0", handlers };
  const record = await plugins.install(await saying("old"), { manifest: serving });
  const sha256 = await world.bus.modules.put(await saying("new"));
  const version = { manifest: { ...serving, version: "2.0.0" }, sha256 };
  await plugins.put({ ...record, canary: { version, percent: 30 } });
  await expect.poll(() => worker.status().plugins).toContain("share@2.0.0");
  const ids = Array.from({ length: 60 }, (_, i) => `share-${i}`);
  const words = await Promise.all(ids.map((id) => run("share", id)));
  expect(words).toEqual(ids.map((id) => (canaryShare(id) < 30 ? "new" : "old")));
  await plugins.put(record);
  await expect.poll(() => worker.status().plugins).not.toContain("share@2.0.0");
  expect(new Set(await Promise.all(ids.map((id) => run("share", `${id}-again`))))).toEqual(new Set(["old"]));
});

test("a push takes effect within a second, and no job is lost", async () => {
  const manifest = { name: "swap", version: "1.0.0", handlers: [{ type: "swap", export: "say" }] };
  await plugins.install(await saying("1.0.0"), { manifest });
  expect(await run("swap", "swap-0")).toBe("1.0.0");
  const pushedMs = performance.now();
  await plugins.install(await saying("1.0.1"), { manifest: { ...manifest, version: "1.0.1" } });
  let word = "";
  for (let i = 1; word !== "1.0.1"; i++) expect(["1.0.0", "1.0.1"]).toContain((word = await run("swap", `swap-${i}`)));
  expect(performance.now() - pushedMs).toBeLessThan(1000);
});

test("a new version that cannot run says why, and its jobs wait", async () => {
  const manifest = { name: "unfit", version: "1.0.0", handlers: [{ type: "unfit", export: "say" }] };
  await plugins.install(await assemble(`(module (import "env" "open" (func)))`), { manifest });
  await world.submit("normal", "default", "unfit", "unfit-1", "");
  const parked = await world.event("unfit-1", EventKind.PARKED);
  expect(parked.reason).toMatch(/no handler|plugin "unfit" does not run: it does not load: .*env.open/);
  await plugins.install(await saying("fit"), { manifest: { ...manifest, version: "1.0.1" } });
  expect(decoder.decode((await world.end("unfit-1")).result)).toBe("fit");
});

test("what a key signed runs while the key is trusted, and for its exact content", async () => {
  const pair = (await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"])) as CryptoKeyPair;
  const publicKey = new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey));
  const keyId = await pluginKeyId(publicKey);
  const putKey = async (fields: MessageInitShape<typeof PluginKeySchema>): Promise<void> => {
    const key = create(PluginKeySchema, { keyId, publicKey, owner: "us", ...fields });
    await world.bus.kv("pluginKeys").put(keyId, encoder.encode(toJsonString(PluginKeySchema, key)));
  };
  const manifest = create(PluginManifestSchema, {
    name: "signed",
    version: "1.0.0",
    handlers: [{ type: "signed", export: "say" }],
  });
  const sha256 = await world.bus.modules.put(await saying("signed"));
  const signature = await signPlugin({ manifest, sha256 }, pair);
  await putKey({});
  const record = await plugins.install(await saying("signed"), { manifest, signature });
  expect(await run("signed", "signed-1")).toBe("signed");

  const revokedMs = performance.now();
  await putKey({ revokedAt: timestampFromMs(Date.now()), revokedReason: "it leaked" });
  await expect.poll(() => worker.status().plugins).not.toContain("signed@1.0.0");
  expect(performance.now() - revokedMs).toBeLessThan(1000);
  await world.submit("normal", "default", "signed", "signed-2", "");
  expect((await world.event("signed-2", EventKind.PARKED)).reason).toContain("was revoked: it leaked");
  await putKey({});
  expect(decoder.decode((await world.end("signed-2")).result)).toBe("signed");

  await plugins.put({ ...record, manifest: { ...manifest, description: "changed" } });
  await expect.poll(() => worker.status().plugins).not.toContain("signed@1.0.0");
  await world.submit("normal", "default", "signed", "signed-3", "");
  expect((await world.event("signed-3", EventKind.PARKED)).reason).toContain("does not fit");
});

test("events and scheduled tasks reach the export that was declared for them", async () => {
  const manifest = {
    name: "hears",
    version: "1.0.0",
    events: [{ pattern: "user.*", export: "say" }],
    schedules: [{ name: "nightly", cron: "0 0 * * *", export: "say" }],
  };
  await plugins.install(await saying("heard"), { manifest });
  for (const queue of ["plugin-events", "plugin-tasks"]) {
    await world.submit("normal", queue, "hears", `${queue}-1`, "{}", [
      [headerNames.tags, "export:say,event:user.login"],
    ]);
    expect(decoder.decode((await world.end(`${queue}-1`)).result)).toBe("heard");
    await world.submit("normal", queue, "hears", `${queue}-2`, "{}", [[headerNames.tags, "export:hidden"]]);
    expect(await world.end(`${queue}-2`)).toMatchObject({ kind: EventKind.DEAD, errorCode: "HANDLER_GONE" });
  }
});

test("an invocation runs what the manifest declares, and passes by jobs that hold the executors", async () => {
  const limits = { timeoutMs: 60_000, fuel: 1_000_000_000_000_000n };
  const handlers = [
    { type: "invoked", export: "say" },
    { type: "loop", export: "loop" },
  ];
  const manifest = { name: "invoked", version: "1.0.0", handlers, limits };
  await plugins.install(await saying("at once"), { manifest });
  await expect.poll(() => worker.status().plugins).toContain("invoked@1.0.0");
  await world.submit("normal", "default", "loop", "loop-1", "", [[headerNames.maxAttempts, "1"]]);
  await world.event("loop-1", EventKind.STARTED);
  const answer = await invoke({ name: "invoked", export: "say" });
  expect(worker.status().running).toBe(1);
  expect(decoder.decode(answer.output)).toBe("at once");
  expect(answer.fuel).toBeGreaterThan(0n);
  expect(answer.error).toBeUndefined();
  expect((await invoke({ name: "invoked", export: "hidden" })).error).toMatchObject({ code: "HANDLER_GONE" });
  expect((await invoke({ name: "absent", export: "say" })).error).toMatchObject({ code: "HANDLER_GONE" });

  const sha256 = await world.bus.modules.put(await saying("another"));
  const version = { manifest: { ...manifest, version: "2.0.0" }, sha256 };
  expect(decoder.decode((await invoke({ name: "invoked", export: "say", version })).output)).toBe("another");
  expect((await invoke({ name: "invoked", export: "on_enable", version })).error).toBeUndefined();
  const late = await invoke({ name: "invoked", export: "loop", timeoutMs: 100 });
  expect(late.error).toMatchObject({ code: "TIMED_OUT", breach: { resource: "time", limit: 100n } });
  expect(worker.status().running).toBe(1);
  world.bus.publish("cmd.cancel", encoder.encode("loop-1"));
  expect(await world.end("loop-1")).toMatchObject({ kind: EventKind.CANCELLED });
});

test("hooks are no calls that a canary is judged by", async () => {
  await plugins.install(await saying("judged"), {
    manifest: { name: "judged", version: "1.0.0", handlers: [{ type: "judged", export: "say" }] },
  });
  await expect.poll(() => worker.status().plugins, { timeout: 20_000 }).toContain("judged@1.0.0");
  let told = 0n;
  using _ = world.bus.subscribe("stats.plugin.judged", {}, ({ data }) => {
    told += fromBinary(PluginStatsSchema, data.slice()).calls;
  });
  await world.bus.flush();
  expect((await invoke({ name: "judged", export: "on_enable" })).error).toBeUndefined();
  // Told together or in this order.
  await invoke({ name: "judged", export: "say" });
  await expect.poll(() => told, { timeout: 20_000 }).toBeGreaterThan(0n);
  expect(told).toBe(1n);
});
