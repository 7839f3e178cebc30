/** Several installations in one account of one broker: each sees its own, and nothing of the others. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventsStream, jobStream, queueConsumer } from "@millrace/protocol";
import { connect } from "nats";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import type { Delivery } from "./delivery.ts";
import { LeaderLease } from "./leader-lease.ts";
import { startTestNats, TestNats } from "./test-nats.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const read = (value: Uint8Array | undefined): string | undefined => value && new TextDecoder().decode(value);

let nats: TestNats;

beforeAll(async () => {
  nats = await startTestNats();
});

afterAll(() => nats[Symbol.asyncDispose]());

/** Whatever a bus does with names, and that it says our own of all of them. */
async function useAll(bus: Bus, mine: string): Promise<void> {
  await bus.ensureTopology();
  await bus.ensureTopology();
  await bus.ensureQueueConsumers("emails", { ackWaitMs: 30_000 });

  const ack = await bus.publishDurable(`jobs.high.emails.send.${mine}`, text(mine));
  expect(ack).toMatchObject({ stream: "JOBS_HIGH", seq: 1 });
  const delivery = await pullOne(bus);
  expect(delivery).toMatchObject({
    subject: `jobs.high.emails.send.${mine}`,
    stream: "JOBS_HIGH",
    consumer: "w_emails",
    seq: 1,
  });
  expect(read(delivery.data)).toBe(mine);
  bus.ack(delivery.reply);
  await bus.flush();
  await expect
    .poll(() => bus.consumerState(jobStream("high"), queueConsumer("emails")))
    .toMatchObject({ filter: "jobs.high.emails.>", ackPending: 0 });
  expect((await bus.listConsumers(jobStream("high"))).map(({ name }) => name)).toEqual(["w_emails"]);
  expect(await bus.lastMessage("JOBS_HIGH", `jobs.high.*.*.${mine}`)).toMatchObject({ subject: delivery.subject });

  await bus.publishDurable("events.batch.x", text(mine));
  const event = Promise.withResolvers<Delivery>();
  await using _reader = bus.readEvents({
    startSeq: 1,
    filter: "events.batch.>",
    onBatch: ([message]) => {
      if (message !== undefined) event.resolve(message);
    },
  });
  expect(await event.promise).toMatchObject({ subject: "events.batch.x", stream: eventsStream });

  const kv = bus.kv("queues");
  const revision = await kv.create("a.key", text("1"));
  await kv.update("a.key", text(mine), revision);
  expect((await kv.entries()).map(({ key, value }) => [key, read(value)])).toEqual([["a.key", mine]]);
  expect(read((await kv.get("a.key"))?.value)).toBe(mine);
  expect(await kv.keys("a.*")).toEqual(["a.key"]);
  await kv.delete("a.key");
  expect(await kv.compact()).toBe(1);

  const sha256 = await bus.modules.put(text(`module of ${mine}`));
  expect(read(await bus.modules.get(sha256))).toBe(`module of ${mine}`);
  await using lease = await LeaderLease.acquire(bus, "work", mine, AbortSignal.timeout(5000));
  expect(lease).toBeDefined();

  using _echo = bus.subscribe("rpc.>", { queue: "echo" }, (message) => {
    bus.publish(message.reply, text(`${mine} on ${message.subject}`));
  });
  expect(read((await bus.request("rpc.a.b", text(""), { timeoutMs: 1000 })).data)).toBe(`${mine} on rpc.a.b`);
  expect((await bus.limits()).streams.map(({ name }) => name)).toContain("JOBS_HIGH");
}

function pullOne(bus: Bus): Promise<Delivery> {
  return new Promise((resolve) => {
    const options = { batch: 1, expiresMs: 5000 };
    bus.pull(jobStream("high"), queueConsumer("emails"), options, { onMessage: resolve, onEnd: () => undefined });
  });
}

async function streamsOf(url: string): Promise<string[]> {
  const client = await connect({ servers: url });
  try {
    return await (await client.jetstreamManager()).streams.names().next();
  } finally {
    await client.close();
  }
}

it("keeps installations apart by their prefix", async () => {
  await using acme = await connectBus({ servers: nats.url, name: "acme", prefix: "acme" });
  await useAll(acme, "acme");
  const first = await streamsOf(nats.url);
  expect(first.every((name) => /^(ACME_|KV_acme_millrace_|OBJ_acme_millrace_)/.test(name))).toBe(true);
  // Everything is at its beginning for the others, too.
  await using globex = await connectBus({ servers: nats.url, name: "globex", prefix: "globex" });
  await useAll(globex, "globex");
  await using bare = await connectBus({ servers: nats.url, name: "bare" });
  await useAll(bare, "bare");
  expect(await streamsOf(nats.url)).toHaveLength(3 * first.length);

  // What a program of another language publishes.
  await using stack = new AsyncDisposableStack();
  const client = stack.adopt(await connect({ servers: nats.url }), (connection) => connection.close());
  await client.jetstream().publish("globex.jobs.high.emails.send", text("by hand"));
  expect(await pullOne(globex)).toMatchObject({ subject: "jobs.high.emails.send", seq: 2 });
  expect((await acme.streamState("JOBS_HIGH")).lastSeq).toBe(1);
  const answer = await client.request("acme.rpc.a.b", text(""), { timeout: 500 }).catch(() => "nobody");
  expect(answer).toBe("nobody");
});

it("says under our own names that nobody listens", async () => {
  await using bus = await connectBus({ servers: nats.url, name: "acme", prefix: "acme" });
  await expect(bus.request("nobody", text(""), { timeoutMs: 1000 })).rejects.toThrow("nobody listens on nobody");
});

it("refuses a prefix that would meet another installation, before it connects", async () => {
  await expect(connectBus({ servers: "nats://127.0.0.1:1", name: "x", prefix: "jobs" })).rejects.toMatchObject({
    code: "invalid_argument",
  });
});

it("works with the streams of another domain, from a leaf", { timeout: 60_000 }, async () => {
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), "millrace-domain-"));
  stack.defer(() => rm(root, { recursive: true, force: true }));
  const start = async (domain: string, more: string): Promise<TestNats> => {
    const include = join(root, `${domain}.conf`);
    const store = JSON.stringify(join(root, domain, "store"));
    await writeFile(include, `server_name: ${domain}\njetstream { store_dir: ${store}, domain: ${domain} }\n${more}\n`);
    return stack.use(await TestNats.start({ dataDir: join(root, domain), include: [include] }));
  };
  const port = Number(new URL(nats.url).port) + 1;
  const hub = await start("hub", `leafnodes { listen: "127.0.0.1:${port}" }`);
  const leaf = await start("leaf", `leafnodes { remotes: [{ url: "nats://127.0.0.1:${port}" }] }`);
  await using bus = await connectBus({ servers: leaf.url, name: "far", domain: "hub", prefix: "acme" });
  await useAll(bus, "far");
  expect((await streamsOf(hub.url)).length).toBeGreaterThan(10);
  expect(await streamsOf(leaf.url)).toEqual([]);
});
