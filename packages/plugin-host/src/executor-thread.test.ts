import { spawn } from "node:child_process";
import { on, once } from "node:events";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { describe, expect, test } from "vitest";
import { createProgress, executorThreadUrl, readProgress } from "./executor-protocol.ts";
import type { ExecutorCall, ExecutorReply, ExecutorRequest, ExecutorResult } from "./executor-protocol.ts";

const module = new Uint8Array(await readFile(new URL("../fixtures/fixtures.wasm", import.meta.url)));
const bytes = (text: string) => new TextEncoder().encode(text);
const callOf = (callId: number, exportName: string, input = ""): ExecutorCall => ({
  callId,
  sha256: "fixtures",
  exportName,
  input: bytes(input),
  timeoutMs: 1000,
});

class Thread implements AsyncDisposable {
  readonly progress = createProgress();
  readonly #worker = new Worker(executorThreadUrl, { workerData: { progress: this.progress } });
  readonly #replies = on(this.#worker, "message");

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
    expect({ code, output }, problems).toEqual({ code: 0, output: "input TRAPPED HOST_DENIED\n" });
  });
});
