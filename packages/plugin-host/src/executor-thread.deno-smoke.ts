/** Run by executor-thread.test.ts under Deno: a thread, a good call, a trap and a refusal. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Worker } from "node:worker_threads";
import { executorThreadUrl, type ExecutorReply, type ExecutorRequest } from "./executor-protocol.ts";

const module = new Uint8Array(await readFile(new URL("../fixtures/fixtures.wasm", import.meta.url)));
const thread = new Worker(executorThreadUrl);
const next = async () => ((await once(thread, "message")) as [ExecutorReply])[0];
const send = (request: ExecutorRequest) => thread.postMessage(request);

await next();
send({ kind: "load", sha256: "fixtures", module });
await next();
const input = new TextEncoder().encode("input");
const calls = ["noop", "trap", "fetch"].map((exportName, index) => {
  return { callId: index + 1, sha256: "fixtures", exportName, input, timeoutMs: 1000 };
});
const words: string[] = [];
for (const call of calls) {
  send({ kind: "run", calls: [call] });
  const reply = await next();
  if (reply.kind !== "done") throw new Error(`expected results, got ${reply.kind}`);
  for (const { result } of reply.results) words.push(result.ok ? new TextDecoder().decode(result.output) : result.code);
}
console.log(words.join(" "));
await thread.terminate();
