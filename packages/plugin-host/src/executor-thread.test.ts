import { spawn } from "node:child_process";
import { on, once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { createProgress, executorThreadUrl, readProgress } from "./executor-protocol.ts";
import type {
  ExecutorCall,
  ExecutorData,
  ExecutorReply,
  ExecutorRequest,
  ExecutorResult,
} from "./executor-protocol.ts";
import { bytesOf, everything, readAsking, readFixtures, textOf, wat } from "./testing.ts";

const module = await readFixtures();
const asking = await readAsking();
const bytes = bytesOf;
const callOf = (callId: number, exportName: string, input = "", sha256 = "fixtures"): ExecutorCall => ({
  callId,
  sha256,
  exportName,
  input: bytes(input),
  timeoutMs: 10_000,
});
const askingCall = (callId: number, exportName: string, input = "") => callOf(callId, exportName, input, "asking");

type Ask = Extract<ExecutorReply, { kind: "ask" }>;

class Thread implements AsyncDisposable {
  readonly progress = createProgress();
  readonly #worker: Worker;
  readonly #replies;

  constructor(data: ExecutorData = {}) {
    this.#worker = new Worker(executorThreadUrl, { workerData: { progress: this.progress, ...data } });
    this.#replies = on(this.#worker, "message");
  }

  send(request: ExecutorRequest): void {
    this.#worker.postMessage(request);
  }

  async next(): Promise<ExecutorReply> {
    const { value } = (await this.#replies.next()) as { value: [ExecutorReply] };
    return value[0];
  }

  async results(count: number): Promise<ExecutorResult[]> {
    const results: ExecutorResult[] = [];
    while (results.length < count) {
      const reply = await this.next();
      if (reply.kind === "done") results.push(...reply.results);
    }
    return results;
  }

  async asks(count: number): Promise<Ask[]> {
    const asks: Ask[] = [];
    while (asks.length < count) {
      const reply = await this.next();
      if (reply.kind === "ask") asks.push(reply);
    }
    return asks;
  }

  answer({ callId, ask }: Ask, text: string): void {
    this.send({ kind: "answer", callId, ask, meta: { found: true }, body: bytes(text) });
  }

  async load(): Promise<void> {
    await this.next();
    this.send({ kind: "load", sha256: "fixtures", module });
    this.send({ kind: "load", sha256: "asking", module: asking, granted: everything });
    await this.next();
    await this.next();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#replies.return?.();
    await this.#worker.terminate();
  }
}

describe("an executor thread", () => {
  test("loads, runs a batch in order, answers in batches, unloads", async () => {
    await using thread = new Thread();
    expect(await thread.next()).toEqual({ kind: "ready" });
    thread.send({ kind: "load", sha256: "fixtures", module });
    const calls = Array.from({ length: 200 }, (_, index) => callOf(index + 1, "noop", `input ${index}`));
    thread.send({ kind: "run", calls: [...calls, callOf(500, "fail_with_input", "no")] });
    expect(await thread.next()).toMatchObject({ kind: "loaded", sha256: "fixtures", ok: true });
    const results = await thread.results(201);
    expect(results.map(({ callId }) => callId)).toEqual([...calls.map(({ callId }) => callId), 500]);
    const outputs = results.slice(0, 200).map(({ result }) => result.ok && new TextDecoder().decode(result.output));
    expect(outputs).toEqual(calls.map((_, index) => `input ${index}`));
    expect(results[200]?.result).toMatchObject({ ok: false, code: "HANDLER_FAILED", message: "no" });

    thread.send({ kind: "unload", sha256: "fixtures" });
    thread.send({ kind: "run", calls: [callOf(501, "noop")] });
    expect(await thread.results(1)).toMatchObject([{ callId: 501, result: { ok: false, code: "HANDLER_GONE" } }]);
  });

  test("says why a module cannot be loaded", async () => {
    await using thread = new Thread();
    await thread.next();
    thread.send({ kind: "load", sha256: "text", module: bytes("no module") });
    expect(await thread.next()).toMatchObject({ kind: "loaded", ok: false, problems: [{ field: "module" }] });
  });

  test("shows its watchdog which call never ends, and gave the results before it away", async () => {
    await using thread = new Thread();
    await thread.next();
    thread.send({ kind: "load", sha256: "fixtures", module });
    await thread.next();
    thread.send({ kind: "run", calls: [callOf(1, "busy", "5"), callOf(7, "spin")] });
    expect(await thread.results(1)).toMatchObject([{ callId: 1, result: { ok: true } }]);
    await expect.poll(() => readProgress(thread.progress)).toEqual({ callId: 7, begun: 2 });
  });

  test("takes a module that another has prepared", async () => {
    await using first = new Thread();
    await using second = new Thread();
    await Promise.all([first.next(), second.next()]);
    first.send({ kind: "load", sha256: "fixtures", module });
    const loaded = await first.next();
    const prepared = loaded.kind === "loaded" && loaded.ok ? loaded.prepared : undefined;
    if (!prepared) throw new Error("the first thread does not hand on what it prepared");
    second.send({ kind: "load", sha256: "fixtures", module: prepared });
    expect(await second.next()).toEqual({ kind: "loaded", sha256: "fixtures", ok: true, waits: false });
    second.send({ kind: "run", calls: [callOf(1, "noop", "hello")] });
    expect((await second.results(1)).map(({ result }) => textOf(result))).toEqual(["hello"]);
  });

  test("runs other calls while some wait, and resumes those in the order of their answers", async () => {
    await using thread = new Thread();
    await thread.load();
    thread.send({ kind: "run", calls: [1, 2, 3].map((callId) => askingCall(callId, "wait", "x")) });
    const asks = await thread.asks(3);
    expect(asks.map(({ callId }) => callId)).toEqual([1, 2, 3]);
    await expect.poll(() => readProgress(thread.progress).callId).toBeUndefined();
    thread.send({ kind: "run", calls: [callOf(4, "noop", "meanwhile")] });
    expect(await thread.results(1)).toMatchObject([{ callId: 4, result: { ok: true } }]);
    for (const ask of asks.toReversed()) thread.answer(ask, "v");
    expect((await thread.results(3)).map(({ callId }) => callId)).toEqual([3, 2, 1]);
  });

  test("bounds the calls that wait; the rest begin as those end", async () => {
    await using thread = new Thread();
    await thread.load();
    const calls = Array.from({ length: 300 }, (_, index) => askingCall(index + 1, "wait", "x"));
    thread.send({ kind: "run", calls });
    const asks = await thread.asks(256);
    thread.send({ kind: "run", calls: [callOf(1000, "noop", "not held up")] });
    expect(await thread.next()).toMatchObject({ kind: "done", results: [{ callId: 1000 }] });
    for (const ask of asks) thread.answer(ask, "v");
    for (const ask of await thread.asks(44)) thread.answer(ask, "v");
    // The first results came between the asks.
    thread.send({ kind: "run", calls: [callOf(1001, "noop")] });
    for (let last = 0; last !== 1001;) last = (await thread.results(1)).at(-1)?.callId ?? 0;
  });

  test("bounds the memory of calls that wait, as it has become by then", async () => {
    await using thread = new Thread();
    await thread.load();
    const large = wat(`(module (import "millrace:host/kv" "get" (func $get (param i64) (result i64))) (memory 1)
      (func (export "run") (drop (memory.grow (i32.const 255))) (drop (call $get (i64.const 0)))))`);
    thread.send({ kind: "load", sha256: "large", module: large, granted: everything });
    await thread.next();
    thread.send({
      kind: "run",
      calls: Array.from({ length: 40 }, (_, index) => callOf(index + 1, "run", "", "large")),
    });
    // 512 MiB by 16 MiB each.
    const asks = await thread.asks(32);
    thread.send({ kind: "run", calls: [callOf(1000, "noop")] });
    expect(await thread.next()).toMatchObject({ kind: "done", results: [{ callId: 1000 }] });
    for (const ask of asks) thread.answer(ask, "v");
    await thread.asks(8);
  });

  test("begins one call at a time of a stateful plugin, and others beside it", async () => {
    await using thread = new Thread();
    await thread.load();
    thread.send({ kind: "load", sha256: "keeps", module: asking, granted: everything, stateful: true });
    await thread.next();
    const kept = Array.from({ length: 300 }, (_, index) => callOf(index + 1, "wait", "x", "keeps"));
    thread.send({ kind: "run", calls: [...kept, askingCall(1000, "wait", "x")] });
    const [first, other] = await thread.asks(2);
    expect([first?.callId, other?.callId]).toEqual([1, 1000]);
    if (first) thread.answer(first, "v");
    expect((await thread.asks(1))[0]?.callId).toBe(2);
  });

  test("shows its watchdog the call that resumed and never ends, not its neighbours", async () => {
    await using thread = new Thread();
    await thread.load();
    thread.send({
      kind: "run",
      calls: [askingCall(1, "wait", "xx"), askingCall(2, "wait_and_spin"), askingCall(3, "wait", "xx")],
    });
    for (const ask of await thread.asks(3)) thread.answer(ask, "v");
    await expect.poll(() => readProgress(thread.progress).callId).toBe(2);
  });

  test("cancels a call that waits, and one that has not begun", async () => {
    await using thread = new Thread();
    await thread.load();
    const calls = Array.from({ length: 257 }, (_, index) => askingCall(index + 1, "wait", "x"));
    thread.send({ kind: "run", calls });
    await thread.asks(256);
    thread.send({ kind: "cancel", callId: 257 });
    thread.send({ kind: "cancel", callId: 7 });
    const results = await thread.results(2);
    expect(results.map(({ callId, result }) => [callId, !result.ok && result.code])).toEqual([
      [7, "CANCELLED"],
      [257, "CANCELLED"],
    ]);
  });

  test("works under Deno", async () => {
    // The program itself: its wrapper for npm may outlive a killed test.
    const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");
    const smoke = fileURLToPath(new URL("./executor-thread.deno-smoke.ts", import.meta.url));
    const child = spawn(deno, ["run", "--allow-all", "--no-prompt", smoke]);
    let output = "";
    child.stdout.on("data", (chunk) => (output += String(chunk)));
    let problems = "";
    child.stderr.on("data", (chunk) => (problems += String(chunk)));
    const [code] = (await once(child, "close")) as [number];
    expect({ code, output }, problems).toEqual({
      code: 0,
      output: "input TRAPPED HOST_DENIED xy TIMED_OUT OUT_OF_FUEL\n",
    });
  });
});

test.runIf(process.platform === "linux")("gives way to the other threads of its process, and they do not", async () => {
  await using thread = new Thread({ nice: 7 });
  expect(await thread.next()).toEqual({ kind: "ready" });
  const niceValues = readdirSync("/proc/self/task").map((id) => Number(readStat(id)[16]));
  expect(niceValues.filter((nice) => nice === 7)).toHaveLength(1);
});

/** Of a thread, the fields that follow its name, which may hold spaces: proc_pid_stat(5). */
function readStat(threadId: string): string[] {
  const stat = readFileSync(`/proc/self/task/${threadId}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}
