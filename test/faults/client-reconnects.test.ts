import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { jobIdOf, jobStream, parseJobSubject, priorityNames } from "@millrace/protocol";
import { expect, it } from "vitest";
import { CutProxy } from "../lib/cut-proxy.ts";
import { publishLoad } from "../lib/publish-load.ts";

/** How often the logs hold each job. */
async function storedIds(bus: Bus): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  for (const stream of priorityNames.map(jobStream)) {
    const { lastSeq } = await bus.streamState(stream);
    if (lastSeq === 0) continue;
    const complete = Promise.withResolvers<void>();
    await using _ = bus.readStream({
      stream,
      start: "first",
      onBatch: (messages) => {
        for (const message of messages) {
          const id = jobIdOf(parseJobSubject(message.subject)?.id, (name) => message.header(name), message);
          counts.set(id, (counts.get(id) ?? 0) + 1);
        }
        if (messages.at(-1)?.seq === lastSeq) complete.resolve();
      },
    });
    await complete.promise;
  }
  return counts;
}

it("stores each job once although the connection is cut again and again", async () => {
  const jobs = 20_000;
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "observer" });
  await bus.ensureTopology();
  await using proxy = await CutProxy.to(Number(new URL(nats.url).port));
  const load = publishLoad({ natsUrl: `nats://127.0.0.1:${proxy.port}`, queue: "cut", jobs });
  for (const share of [0.1, 0.3, 0.5, 0.7, 0.9]) {
    await load.whenAccepted(jobs * share);
    proxy.cut();
    proxy.mend();
  }
  expect([...(await load.ended)]).toEqual([]);
  expect(load.accepted.size).toBe(jobs);
  expect(proxy.connections).toBe(6);
  const stored = await storedIds(bus);
  expect([...load.accepted].filter((id) => stored.get(id) !== 1)).toEqual([]);
  expect(stored.size).toBe(jobs);
  const states = await Promise.all(priorityNames.map((priority) => bus.streamState(jobStream(priority))));
  expect(states.reduce((sum, { messages }) => sum + messages, 0)).toBe(jobs);
});

it("says so for each job that it could not deliver while the connection stayed away", async () => {
  const jobs = 5000;
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "observer" });
  await bus.ensureTopology();
  await using proxy = await CutProxy.to(Number(new URL(nats.url).port));
  const load = publishLoad({
    natsUrl: `nats://127.0.0.1:${proxy.port}`,
    queue: "away",
    jobs,
    concurrency: 1000,
    deliveryTimeoutMs: 500,
  });
  await load.whenAccepted(jobs / 2);
  proxy.cut();
  const refused = await load.ended;
  // Nothing is left without a word: accepted, or an error.
  expect(load.accepted.size + refused.size).toBe(jobs);
  expect(refused.size).toBeGreaterThan(0);
  expect(new Set(refused.values())).toEqual(new Set(["unavailable"]));
  const stored = await storedIds(bus);
  expect([...load.accepted].filter((id) => stored.get(id) !== 1)).toEqual([]);
  // What was refused may be stored (its answer was on the way), and then once.
  expect([...stored].filter(([id, count]) => count !== 1 || !(load.accepted.has(id) || refused.has(id)))).toEqual([]);
});
