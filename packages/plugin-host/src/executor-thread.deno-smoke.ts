/** Run by executor-thread.test.ts under Deno: a thread, a good call, failures, and calls that wait. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { executorThreadUrl, type ExecutorReply, type ExecutorRequest } from "./executor-protocol.ts";

const readModule = async (path: string) =>
  new Uint8Array(await readFile(new URL(`../fixtures/${path}`, import.meta.url)));
const thread = new Worker(executorThreadUrl);
const next = async () => ((await once(thread, "message")) as [ExecutorReply])[0];
const send = (request: ExecutorRequest) => thread.postMessage(request);

await next();
send({ kind: "load", sha256: "fixtures", module: await readModule("fixtures.wasm"), limits: { fuel: 1_000_000 } });
await next();
const granted = { http: [], kvBytes: 1, secrets: [], events: [], jobs: [] };
send({ kind: "load", sha256: "asking", module: await readModule("asking/asking.wasm"), granted });
await next();

const words: string[] = [];
async function run(sha256: string, exportName: string, input: string, timeoutMs = 1000): Promise<void> {
  const call = { callId: words.length + 1, sha256, exportName, input: new TextEncoder().encode(input), timeoutMs };
  send({ kind: "run", calls: [call] });
  for (;;) {
    const reply = await next();
    if (reply.kind === "ask") {
      const { callId, ask } = reply;
      // Without an answer the call times out.
      if (timeoutMs >= 1000) send({ kind: "answer", callId, ask, meta: { found: false } });
    } else if (reply.kind === "done") {
      for (const { result } of reply.results) {
        words.push(result.ok ? new TextDecoder().decode(result.output) : result.code);
      }
      return;
    }
  }
}

await run("fixtures", "noop", "input");
await run("fixtures", "trap", "");
await run("fixtures", "fetch", "");
await run("asking", "wait", "xy");
await run("asking", "wait", "xy", 50);
await run("fixtures", "spin", "");
console.log(words.join(" "));
await thread.terminate();
