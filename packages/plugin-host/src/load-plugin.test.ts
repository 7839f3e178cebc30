import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import type { CallResult } from "./call-result.ts";
import { loadPlugin, type LoadedPlugin, type LoadOptions } from "./load-plugin.ts";
import { PluginRefused } from "./plugin-refused.ts";

const module = new Uint8Array(await readFile(new URL("../fixtures/fixtures.wasm", import.meta.url)));
const load = (options: LoadOptions = {}) => loadPlugin(module, options);
const bytes = (text: string) => new TextEncoder().encode(text);
const call = (plugin: LoadedPlugin, name: string, input = "") => plugin.call(name, bytes(input));
const textOf = (result: CallResult) => (result.ok ? new TextDecoder().decode(result.output) : result);

describe("a call", () => {
  test("returns the output and how long it took", async () => {
    const result = await call(await load(), "noop", "grüß dich");
    expect(textOf(result)).toBe("grüß dich");
    expect(result.durationUs).toBeGreaterThan(0);
  });

  test("returns the length that was set, not the whole block", async () => {
    const result = await call(await load(), "output_bytes", "10");
    expect(result.ok && result.output.length).toBe(10);
  });

  test("takes a view into a larger buffer as input", async () => {
    const packed = bytes("one two three");
    expect(textOf(await (await load()).call("noop", packed.subarray(4, 7)))).toBe("two");
  });

  test("fails with the plugin's own words, or with its code", async () => {
    const plugin = await load();
    expect(await call(plugin, "fail_with_input", "no such user")).toMatchObject({
      code: "HANDLER_FAILED",
      message: "no such user",
      retryable: true,
    });
    expect(await call(plugin, "code")).toMatchObject({ code: "HANDLER_FAILED", message: "the handler returned 7" });
  });

  test("of an export that is not there says so", async () => {
    expect(await call(await load(), "nothing")).toMatchObject({ code: "HANDLER_GONE", retryable: false });
  });

  test("reads its configuration, and only that", async () => {
    const plugin = await load({ config: { region: "eu" } });
    expect(textOf(await call(plugin, "config", "region"))).toBe("eu");
    expect(textOf(await call(plugin, "config", "toString"))).toBe("none");
  });
});

describe("limits", () => {
  test.each([
    { name: "trap", code: "TRAPPED", message: "unreachable" },
    { name: "recurse", code: "TRAPPED", message: /too deep; the limit is 5000/ },
    { name: "spin", limits: { fuel: 1_000_000 }, code: "OUT_OF_FUEL", message: /1000000 units/ },
    { name: "grow", limits: { memoryPages: 20 }, code: "OUT_OF_MEMORY", message: /21 pages; the limit is 20/ },
    { name: "hoard", limits: { hostBytes: 4 << 20 }, code: "OUT_OF_MEMORY", message: /limit is 4194304/ },
    { name: "remember", input: "5000", limits: { varBytes: 4096 }, code: "OUT_OF_MEMORY", message: /variables.*4096/ },
    {
      name: "output_bytes",
      input: "2000",
      limits: { outputBytes: 1999 },
      code: "OUTPUT_TOO_LARGE",
      message: /2000.*1999/,
    },
    { name: "fetch", code: "HOST_DENIED", message: /http: not granted/ },
    {
      name: "noop",
      input: "12345",
      limits: { inputBytes: 4 },
      code: "HOST_DENIED",
      message: /5 bytes; the limit is 4/,
    },
    { name: "busy", input: "120", limits: { timeoutMs: 100 }, code: "TIMED_OUT", message: /100 ms/ },
  ])("$name gets $code", async ({ name, input = "", limits = {}, code, message }) => {
    const plugin = await load({ limits });
    expect(await call(plugin, name, input)).toMatchObject({ ok: false, code, message: expect.stringMatching(message) });
    expect(textOf(await call(plugin, "noop", "on"))).toBe("on");
  });

  test("a call's own timeout can only shorten the plugin's", async () => {
    const plugin = await load({ limits: { timeoutMs: 20 } });
    expect(await plugin.call("busy", bytes("25"), { timeoutMs: 1000 })).toMatchObject({ code: "TIMED_OUT" });
  });

  test("logs are cut, and the cut is told", async () => {
    const result = await call(await load({ limits: { logEntries: 3 } }), "talk", "5");
    expect(result.logs.map(({ text }) => text)).toEqual([
      "line 0",
      "line 1",
      "line 2",
      "2 log entries dropped: the limits are 3 entries and 65536 bytes",
    ]);
  });

  test("a module that needs more from the start is refused", async () => {
    await expect(load({ limits: { memoryPages: 1 } })).rejects.toThrow(PluginRefused);
    await expect(load({ limits: { memoryPages: 1 } })).rejects.toMatchObject({
      problems: [{ field: "limits.memoryPages", reason: expect.stringContaining("the limit is 1") }],
    });
  });
});

describe("state", () => {
  test("none survives a call", async () => {
    const plugin = await load();
    for (let i = 0; i < 3; i++) expect(textOf(await call(plugin, "count"))).toBe("1 1 1");
    await call(plugin, "trap");
    expect(textOf(await call(plugin, "count"))).toBe("1 1 1");
  });

  test("survives when asked for, until a trap", async () => {
    const plugin = await load({ stateful: true });
    const all = await Promise.all([call(plugin, "count"), call(plugin, "count"), call(plugin, "count")]);
    expect(all.map(textOf)).toEqual(["1 1 1", "2 2 2", "3 3 3"]);
    await call(plugin, "fail_with_input", "x");
    expect(textOf(await call(plugin, "count"))).toBe("4 4 4");
    await call(plugin, "trap");
    expect(textOf(await call(plugin, "count"))).toBe("1 1 1");
  });

  test("tens of thousands of calls keep memory flat", async () => {
    const plugin = await load();
    const input = bytes("x".repeat(256));
    for (let i = 0; i < 5000; i++) await plugin.call("noop", input);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 20_000; i++) await plugin.call("noop", input);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 << 20);
  });
});
