/** A reader goes on when the server that its consumer was on dies, although the connection is to another. */
import { jobStream } from "@millrace/protocol";
import { expect, it } from "vitest";
import { connectBus } from "./bus.ts";
import { JsonObject } from "./json.ts";
import { pause } from "./pause.ts";
import { canCluster, startTestCluster } from "./test-cluster.ts";

const stream = jobStream("high");
const none = new Uint8Array(0);
/** Without a word of the broker it would take the pull's 20 s, and some. */
const readWithinMs = 15_000;
/** A busy machine elects late: then it counts from the moment that a message was taken. */
const afterTakenMs = 5000;

it.runIf(canCluster())("reads on after the server of its consumer was killed", { timeout: 180_000 }, async () => {
  await using cluster = await startTestCluster();
  await using operator = await connectBus({ servers: cluster.url, name: "operator" });
  await operator.ensureTopology({ replicas: 3 });

  // Until the consumer is on another server than the connection.
  for (;;) {
    await using bus = await connectBus({ servers: cluster.url, name: "reader" });
    const read = Promise.withResolvers<string>();
    const ready = Promise.withResolvers<void>();
    await using _reader = bus.readStream({
      stream,
      start: "first",
      onBatch: ([message]) => read.resolve(message?.subject ?? ""),
      onCaughtUp: () => ready.resolve(),
    });
    await ready.promise;
    const list = await operator.request(`$JS.API.CONSUMER.LIST.${stream}`, none, { timeoutMs: 5000 });
    const [consumer] = JsonObject.parse(list.data).list("consumers");
    const name = new JsonObject(consumer).object("cluster").string("leader");
    if (name === bus.info.name) continue;
    const node = cluster.nodes.find((one) => one.name === name);
    if (node === undefined) throw new Error(`no server ${name}`);
    // Silence of the stream is no silence of the broker.
    await pause(7000);
    await node.kill9();
    const killedMs = performance.now();
    await operator.publishDurable("jobs.high.q.t.1", none);
    const takenMs = Math.round(performance.now() - killedMs);
    expect(await read.promise).toBe("jobs.high.q.t.1");
    const tookMs = Math.round(performance.now() - killedMs);
    console.info(`taken ${takenMs} ms after the kill, read after ${tookMs} ms`);
    expect(tookMs).toBeLessThan(Math.max(readWithinMs, takenMs + afterTakenMs));
    expect(bus.status.epoch).toBe(1);
    return;
  }
});
