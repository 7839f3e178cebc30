import { readFile } from "node:fs/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { PluginState } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

/** (module (func (export "run") (result i32) i32.const 0) (func (export "spin") (result i32) (loop br 0) unreachable)) */
const module = new Uint8Array(
  Buffer.from(
    [
      "0061736d01000000",
      "0105016000017f",
      "0303020000",
      "070e020372756e0000047370696e0001",
      "0a0f02040041000b080003400c000b000b",
    ].join(""),
    "hex",
  ),
);

function upload(
  name: string,
  type: string,
  more: { export?: string; module?: Uint8Array<ArrayBuffer>; disabled?: boolean } = {},
) {
  return fixture.plugins.uploadPlugin({
    manifest: { name, version: "1.0.0", handlers: [{ type, export: more.export ?? "run" }] },
    module: more.module ?? module,
    disabled: more.disabled ?? false,
  });
}

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  const error: unknown = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ConnectError)) throw new Error("was not refused", { cause: error });
  return error;
}

test("a plugin is kept by its hash, listed, disabled, enabled, and leaves a record when deleted", async () => {
  const { plugin } = await upload("p1", "one");
  expect(plugin).toMatchObject({ state: PluginState.ACTIVE, sizeBytes: BigInt(module.length) });
  expect(await fixture.bus.modules.get(plugin?.sha256 ?? "")).toEqual(module);
  expect((await fixture.plugins.listPlugins({})).plugins.map((p) => p.manifest?.name)).toEqual(["p1"]);
  expect((await fixture.plugins.disablePlugin({ name: "p1" })).plugin?.state).toBe(PluginState.RESOLVED);
  expect((await fixture.plugins.enablePlugin({ name: "p1" })).plugin?.state).toBe(PluginState.ACTIVE);
  await fixture.plugins.deletePlugin({ name: "p1" });
  expect((await fixture.plugins.listPlugins({})).plugins).toEqual([]);
  expect((await refusal(fixture.plugins.getPlugin({ name: "p1" }))).code).toBe(Code.NotFound);
  expect(await fixture.bus.kv("plugins").get("p1")).toBeDefined();
  expect((await upload("p1", "one")).plugin?.state).toBe(PluginState.ACTIVE);
});

test("what no worker could run is refused, with the reason", async () => {
  const noWasm = await refusal(upload("p2", "two", { module: new TextEncoder().encode("not a module") }));
  expect(noWasm.code).toBe(Code.InvalidArgument);
  const noExport = await refusal(upload("p2", "two", { export: "absent" }));
  expect(noExport.code).toBe(Code.InvalidArgument);
  expect(noExport.rawMessage).toContain("absent");
});

test("a type is served by one plugin", async () => {
  await upload("p3", "three");
  const error = await refusal(upload("p4", "three"));
  expect(error.code).toBe(Code.AlreadyExists);
  expect(error.rawMessage).toContain("p3");
  await upload("p3", "three");
});

test("a dry run answers, also when the plugin never does", async () => {
  await upload("p5", "five");
  const fine = await fixture.plugins.callPlugin({ name: "p5", export: "run" });
  expect(fine.error).toBeUndefined();
  const startedAt = performance.now();
  const spinning = await fixture.plugins.callPlugin({ name: "p5", export: "spin", timeoutMs: 200 });
  expect(spinning.error?.code).toBe("TIMED_OUT");
  expect(performance.now() - startedAt).toBeLessThan(5000);
  expect((await fixture.plugins.callPlugin({ name: "p5", export: "absent" })).error?.code).toBe("HANDLER_GONE");
});

test("a dry run reports its progress to nobody, and reaches nothing outside", { timeout: 30_000 }, async () => {
  const asking = await readFile(new URL("../../plugin-host/fixtures/asking/asking.wasm", import.meta.url));
  await fixture.plugins.uploadPlugin({
    manifest: {
      name: "asking",
      version: "1.0.0",
      handlers: [{ type: "keep", export: "keep" }],
      capabilities: { http: ["a.example"], kvBytes: 1000n, secrets: ["s"], events: ["user.*"], jobs: ["*"] },
    },
    module: new Uint8Array(asking),
    grants: ["all"],
  });
  expect((await fixture.plugins.callPlugin({ name: "asking", export: "tell" })).error).toBeUndefined();
  const { error } = await fixture.plugins.callPlugin({ name: "asking", export: "keep" });
  expect(error).toMatchObject({ code: "HOST_DENIED" });
  expect(error?.message).toContain("a dry run reaches nothing outside");
});
