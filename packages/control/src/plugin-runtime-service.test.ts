import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { createClient, type Client } from "@connectrpc/connect";
import {
  encodePluginRecord,
  InterceptorPhase,
  InvokePluginRequestSchema,
  InvokePluginResponseSchema,
  invokeSubject,
  PluginRuntimeService,
  PluginSchema,
  PluginState,
} from "@millrace/protocol";
import { createDirectTransport, createPipeline } from "@millrace/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
let runtime: Client<typeof PluginRuntimeService>;
beforeAll(async () => {
  fixture = await startControlFixture();
  runtime = createClient(
    PluginRuntimeService,
    createDirectTransport(createPipeline({ services: fixture.control.services })),
  );
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

function write(name: string, state: PluginState): Promise<number> {
  const plugin = create(PluginSchema, {
    manifest: {
      name,
      version: "1.0.0",
      interceptors: [{ phase: InterceptorPhase.BEFORE, export: "guard", order: 1 }],
    },
    state,
  });
  return fixture.bus.kv("plugins").put(name, encodePluginRecord(plugin));
}

test("a worker answers, and without one the call is unavailable at once", async () => {
  const call = { name: "p", export: "run", input: new Uint8Array([1]), timeoutMs: 1000 };
  await expect(runtime.invokePlugin(call)).rejects.toThrow(/unavailable/);
  using worker = fixture.bus.subscribe(invokeSubject, { queue: "plugin-workers" }, (message) => {
    const { input } = fromBinary(InvokePluginRequestSchema, message.data);
    const answer = create(InvokePluginResponseSchema, { output: new Uint8Array([...input, 2]), fuel: 7n });
    fixture.bus.publish(message.reply, toBinary(InvokePluginResponseSchema, answer));
  });
  void worker;
  const { output, fuel } = await runtime.invokePlugin(call);
  expect([...output, fuel]).toEqual([1, 2, 7n]);
});

test("a worker that has not heard of the plugin yet is asked again", async () => {
  let asked = 0;
  using worker = fixture.bus.subscribe(invokeSubject, { queue: "plugin-workers" }, (message) => {
    asked++;
    const error = { code: "HANDLER_GONE", message: "no such plugin" };
    const answer = create(InvokePluginResponseSchema, asked < 3 ? { error } : { fuel: 1n });
    fixture.bus.publish(message.reply, toBinary(InvokePluginResponseSchema, answer));
  });
  void worker;
  expect((await runtime.invokePlugin({ name: "p", export: "run" })).error).toBeUndefined();
  expect(asked).toBe(3);
});

test("a worker that does not answer does not hold the caller", async () => {
  using silent = fixture.bus.subscribe(invokeSubject, { queue: "plugin-workers" }, () => undefined);
  void silent;
  const call = runtime.invokePlugin({ name: "p", export: "run" }, { timeoutMs: 100 });
  await expect(call).rejects.toThrow(/deadline_exceeded|timed out/);
});

test("watchers get what active plugins extend, whole at every change", async () => {
  await write("idle", PluginState.RESOLVED);
  await write("guard", PluginState.ACTIVE);
  const abort = new AbortController();
  const names: string[][] = [];
  const steps = [() => write("second", PluginState.ACTIVE), () => write("guard", PluginState.RESOLVED)];
  await expect(async () => {
    for await (const { plugins } of runtime.watchExtensions({}, { signal: abort.signal })) {
      names.push(plugins.map((plugin) => plugin.name));
      expect(plugins[0]?.interceptors[0]?.export).toBe("guard");
      const step = steps.shift();
      if (step === undefined) abort.abort();
      else await step();
    }
  }).rejects.toThrow(/cancel|abort/);
  expect(names).toEqual([["guard"], ["guard", "second"], ["second"]]);
});
