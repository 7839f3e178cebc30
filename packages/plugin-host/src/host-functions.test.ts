import { describe, expect, test } from "vitest";
import type { CallResult } from "./call-result.ts";
import type { HostAnswer } from "./host-calls.ts";
import { inspectModule } from "./inspect-module.ts";
import { loadPlugin, type CallOptions, type LoadedPlugin, type LoadOptions } from "./load-plugin.ts";
import { bytesOf, everything, InProcessHost, readAsking, readAskingC, textOf, wat } from "./testing.ts";

const module = await readAsking();
const declared = { http: ["example.com"], kvBytes: 1000n, secrets: ["token"], events: [">"], jobs: ["*"] };
const load = (options: LoadOptions = {}) => loadPlugin(module, { granted: everything, name: "asking", ...options });

async function call(name: string, input = "", options: CallOptions = {}, plugin?: LoadedPlugin): Promise<unknown> {
  return textOf(await (plugin ?? (await load())).call(name, bytesOf(input), { host: new InProcessHost(), ...options }));
}

/** Answers when it is told to. */
class SlowHost extends InProcessHost {
  readonly #waiting: PromiseWithResolvers<HostAnswer>[] = [];
  readonly #arrivals: (() => void)[] = [];

  override ask(): Promise<HostAnswer> {
    const waiting = Promise.withResolvers<HostAnswer>();
    this.#waiting.push(waiting);
    for (const arrived of this.#arrivals.splice(0)) arrived();
    return waiting.promise;
  }

  async whenAsked(times: number): Promise<void> {
    while (this.#waiting.length < times) await new Promise<void>((resolve) => this.#arrivals.push(resolve));
  }

  answerAll(answer: HostAnswer = { meta: { found: false } }): void {
    for (const { resolve } of this.#waiting.splice(0).toReversed()) resolve(answer);
  }
}

describe("host functions", () => {
  test("tell a call its job", async () => {
    const context = {
      jobId: "j1",
      attempt: 2,
      maxAttempts: 5,
      deadlineMs: 1_700_000_000_000,
      tags: ["a", "b"],
      queue: "q",
      type: "t",
      correlationId: "c",
    };
    expect(await call("context", "", { context })).toBe('j1 2/5 1700000000000.0 ["a","b"] q t c');
    expect(await call("context")).toBe(" 0/0 0.0 []   ");
  });

  test("log at each level, and report progress", async () => {
    const host = new InProcessHost();
    const result = await (await load()).call("tell", bytesOf(""), { host });
    expect(result.logs.map(({ level, text }) => `${level} ${text}`)).toEqual([
      "trace at 0",
      "debug at 1",
      "info at 2",
      "warn at 3",
      "error at 4",
    ]);
    expect(host.asked).toEqual([{ function: "progress", meta: { percent: 50, message: "half" } }]);
  });

  test("fetch, in both ways", async () => {
    const host = new InProcessHost();
    expect(await call("fetch", "https://example.com/a", { host })).toBe("201 text/x body");
    expect(await call("fetch_by_extism", "https://example.com/b", { host })).toBe("");
    expect(host.asked).toMatchObject([
      {
        meta: { method: "POST", url: "https://example.com/a", headers: { "x-asked": 'a "b"' } },
        body: bytesOf("body"),
      },
      { meta: { method: "GET", url: "https://example.com/b", headers: { a: "b" } } },
    ]);
  });

  test("keep state", async () => {
    const host = new InProcessHost();
    expect(await call("keep", "", { host })).toBe('set v ["k"] deleted none');
    expect(host.asked[0]).toMatchObject({ function: "kv.set", meta: { key: "k", ttlMs: 5000 } });
  });

  test("give a secret, or say why not in a way that the plugin can handle", async () => {
    expect(await call("secret", "token")).toBe("s3cret");
    expect(await call("secret", "other")).toMatchObject({
      code: "HANDLER_FAILED",
      message: 'HOST_DENIED: no secret "other"',
    });
  });

  test("publish and submit", async () => {
    const host = new InProcessHost();
    expect(await call("publish", '{"user":1}', { host })).toBe("events.publish 1");
    expect(await call("submit", "payload", { host })).toBe("jobs.submit 1");
    expect(host.asked).toMatchObject([
      { meta: { name: "user.login" }, body: bytesOf('{"user":1}') },
      { meta: { type: "send_email", queue: "emails", priority: "high", id: "mine" }, body: bytesOf("payload") },
    ]);
  });
});

describe("the C header", () => {
  test("declares every host function as the host has it", async () => {
    const c = await readAskingC();
    expect(inspectModule(c, { handlers: [{ export: "ask_all" }], capabilities: declared })).toMatchObject({ ok: true });
    const host = new InProcessHost();
    expect(await call("ask_all", "", { host }, await loadPlugin(c, { granted: everything }))).toBe("jobs.submit 1");
    expect(host.asked.map((ask) => ask.function)).toEqual([
      "progress",
      "http.request",
      "kv.set",
      "kv.get",
      "kv.list",
      "kv.delete",
      "secrets.get",
      "events.publish",
      "jobs.submit",
    ]);
  });
});

describe("a capability that is not granted", () => {
  test.each([
    ["fetch", "http"],
    ["fetch_by_extism", "http"],
    ["keep", "kv"],
    ["secret", "secrets"],
    ["publish", "events"],
    ["submit", "jobs"],
  ])("ends %s with how to grant %s", async (name, capability) => {
    const plugin = await load({ granted: { http: [], kvBytes: 0, secrets: [], events: [], jobs: [] } });
    expect(plugin.waits).toBe(false);
    expect(await call(name, "{}", {}, plugin)).toMatchObject({
      code: "HOST_DENIED",
      retryable: false,
      message: expect.stringContaining(`millrace plugin grant asking ${capability}`),
    });
  });
});

describe("a failure that the worker calls fatal", () => {
  test("ends the call with its code and breach, whatever the plugin does", async () => {
    const host = new SlowHost();
    const running = call("wait", "abc", { host });
    await host.whenAsked(1);
    const breach = { resource: "http", figure: 11, limit: 10, unit: "bytes" } as const;
    host.answerAll({ failure: { code: "HOST_DENIED", message: "too much", breach, fatal: true } });
    expect(await running).toMatchObject({ ok: false, code: "HOST_DENIED", message: "too much", breach });
  });
});

describe("calls that wait", () => {
  test("let others execute, and keep their own state, fuel and logs", async () => {
    const plugin = await load();
    const host = new SlowHost();
    const names = Array.from({ length: 50 }, (_, index) => `input-${index}-`);
    const running = names.map((input) => plugin.call("wait", bytesOf(input), { host }));
    for (let round = 0; round < 9; round++) {
      await host.whenAsked(names.filter(({ length }) => length > round).length);
      host.answerAll();
    }
    const results = await Promise.all(running);
    expect(results.map(textOf)).toEqual(names);
    const alone = await plugin.call("wait", bytesOf("input-0-"), { host: new InProcessHost() });
    expect(results[0]?.fuel).toBe(alone.fuel);
  });

  test("are timed out while they wait", async () => {
    const plugin = await load({ limits: { timeoutMs: 20 } });
    const result = await plugin.call("wait", bytesOf("a"), { host: new SlowHost() });
    expect(result).toMatchObject({ ok: false, code: "TIMED_OUT", breach: { resource: "time", limit: 20, unit: "ms" } });
    expect(result.executedUs).toBeLessThan(15_000);
    // A timer counts whole milliseconds, and may run out in the last of them.
    expect(result.durationUs).toBeGreaterThan(19_000);
  });

  test("are cancelled while they wait", async () => {
    const plugin = await load();
    const abort = new AbortController();
    const host = new SlowHost();
    const running = plugin.call("wait", bytesOf("a"), { host, signal: abort.signal });
    await host.whenAsked(1);
    abort.abort();
    expect(await running).toMatchObject({ ok: false, code: "CANCELLED" });
    expect(await call("wait", "on", {}, plugin)).toBe("on");
  });

  test("are bounded in what they ask", async () => {
    expect(await call("flood", "", {}, await load({ limits: { hostCalls: 7 } }))).toMatchObject({
      code: "HOST_DENIED",
      breach: { resource: "host_calls", figure: 8, limit: 7, unit: "calls" },
    });
  });

  test("share the instance of a stateful plugin, one after the other", async () => {
    const plugin = await load({ stateful: true });
    const host = new InProcessHost();
    const results = await Promise.all(["ab", "cd"].map((input) => plugin.call("wait", bytesOf(input), { host })));
    expect(results.map(textOf)).toEqual(["ab", "cd"]);
  });
});

describe("a replay", () => {
  const recorded = async (name: string, input: string, host = new InProcessHost()) => {
    const plugin = await load();
    const result = await plugin.call(name, bytesOf(input), { host, record: true });
    if (!result.recording) throw new Error("nothing was recorded");
    return { plugin, result, recording: result.recording };
  };
  const essence = (result: CallResult) => ({
    text: textOf({ ...result, durationUs: 0, executedUs: 0 } as CallResult),
    fuel: result.fuel,
    logs: result.logs,
  });

  test("gives the same result, fuel and logs, without a clock and without asking anyone", async () => {
    const host = new InProcessHost();
    host.values.set("k", bytesOf("value"));
    const { plugin, result, recording } = await recorded("chance", "", host);
    const { recording: _, ...once } = result;
    const again = await plugin.replay("chance", bytesOf(""), recording);
    expect(essence(again)).toEqual(essence(once as CallResult));
    expect(textOf(again)).toMatch(/ value$/);
    // Another process knows the call by its recording alone.
    const elsewhere = await (await load()).replay("chance", bytesOf(""), structuredClone(recording));
    expect(essence(elsewhere)).toEqual(essence(once as CallResult));
  });

  test("of a call that failed fails alike", async () => {
    const { plugin, result, recording } = await recorded("secret", "other");
    expect(await plugin.replay("secret", bytesOf("other"), recording)).toMatchObject({
      ok: false,
      message: !result.ok && result.message,
      fuel: result.fuel,
    });
  });

  test("has no secret to tell", async () => {
    const { plugin, result, recording } = await recorded("secret", "token");
    expect(textOf(result)).toBe("s3cret");
    expect(textOf(await plugin.replay("secret", bytesOf("token"), recording))).toBe("******");
  });

  test("of another call says so", async () => {
    const { plugin, recording } = await recorded("secret", "token");
    expect(await plugin.replay("keep", bytesOf(""), recording)).toMatchObject({
      code: "HOST_DENIED",
      message: expect.stringContaining("asks for kv.set, which had secrets.get"),
    });
  });

  test("is refused when not all was kept", async () => {
    const host = new InProcessHost();
    host.values.set("k", new Uint8Array(600 * 1024));
    const { plugin, result, recording } = await recorded("chance", "", host);
    expect(result.ok && recording).toEqual({ answers: [], truncated: true });
    expect(await plugin.replay("chance", bytesOf(""), recording)).toMatchObject({ ok: false, code: "HOST_DENIED" });
  });
});

describe("calls that wait hold no more than their plugin may", () => {
  const asks = (body: string) => `(module
    (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
    (import "millrace:host/kv" "get" (func $get (param i64) (result i64)))
    (tag $t (param i64))
    (func $wait (drop (call $get (call $alloc (i64.const 1)))))
    ${body})`;
  const recursion = `(func $deep (param i32)
    (try (do (throw $t (i64.const 1))) (catch_all
      (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1)))) (else (call $wait))))))`;

  test.each([
    ["host memory", asks(`(func (export "run") (drop (call $alloc (i64.const 200000000))) (call $wait))`)],
    ["exceptions", asks(`${recursion} (func (export "run") (call $deep (i32.const 9990)))`)],
  ])("in %s", async (_, text) => {
    const limits = { hostBytes: 2 ** 28, callDepth: 10_000 };
    const plugin = await loadPlugin(wat(text), { granted: everything, limits });
    const host = new SlowHost();
    const calls: Promise<CallResult>[] = [];
    let refused: CallResult | undefined;
    while (refused === undefined) {
      const begun = plugin.call("run", bytesOf(""), { host });
      calls.push(begun);
      refused = await Promise.race([begun, host.whenAsked(calls.length).then(() => undefined)]);
    }
    expect(refused).toMatchObject({
      code: "OUT_OF_MEMORY",
      retryable: true,
      breach: { resource: "host_memory", limit: 2 ** 29 },
    });
    host.answerAll();
    const others = await Promise.all(calls.slice(0, -1));
    expect(others.length).toBeGreaterThan(1);
    expect(others.every(({ ok }) => ok)).toBe(true);
    expect(plugin.waitingBytes).toBe(0);
  });

  test("and as many begin at once as there is room for what they came to hold", async () => {
    const text = asks(`(memory 1) (func (export "small") (call $wait))
      (func (export "run") (call $wait) (drop (memory.grow (i32.const 1023))) (call $wait))`);
    const plugin = await loadPlugin(wat(text), { granted: everything, limits: { memoryPages: 1024 } });
    const host = new SlowHost();
    const begin = async (exportName: string, most: number): Promise<Promise<CallResult>[]> => {
      const calls: Promise<CallResult>[] = [];
      while (calls.length < most && plugin.isFree) {
        calls.push(plugin.call(exportName, bytesOf(""), { host }));
        await host.whenAsked(calls.length);
      }
      return calls;
    };
    const end = async (calls: readonly Promise<CallResult>[], grown: number): Promise<number> => {
      host.answerAll();
      await host.whenAsked(grown);
      host.answerAll();
      return (await Promise.all(calls)).filter(({ ok }) => ok).length;
    };
    // Nobody knows yet what they hold: 64 MiB each.
    const first = await begin("run", 10);
    expect([first.length, await end(first, 7)]).toEqual([10, 7]);
    const second = await begin("run", 10);
    expect([second.length, await end(second, 7)]).toEqual([7, 7]);
    for (let n = 0; n < 40; n++) {
      const [call] = await begin("small", 1);
      host.answerAll();
      expect(await call).toMatchObject({ ok: true });
    }
    const small = await begin("small", 10);
    host.answerAll();
    expect([small.length, (await Promise.all(small)).every(({ ok }) => ok)]).toEqual([10, true]);
  });
});
