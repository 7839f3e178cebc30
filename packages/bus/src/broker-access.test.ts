/** What services do with the broker works as their users: each operation of the bus that a service needs, by its own user. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buckets, eventsStream, jobSubject, subjectRoots } from "@millrace/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { authorizationConfig, createBrokerKeys } from "./broker-config.ts";
import { brokerOptions } from "./broker-settings.ts";
import type { BrokerUser } from "./broker-users.ts";
import { connectBus, type Bus } from "./bus.ts";
import type { KvBucket } from "./kv-bucket.ts";
import { provideNatsServer } from "./nats-server.ts";
import type { ReadOptions } from "./stream-reader.ts";

const stack = new AsyncDisposableStack();
const bytes = new TextEncoder().encode("stored");
let folder: string;
let natsUrl: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "millrace-access-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const keys = createBrokerKeys();
  const include = join(folder, "authorization.conf");
  await writeFile(include, authorizationConfig(keys));
  for (const { user, seed } of keys) await writeFile(join(folder, `${user}.seed`), `${seed}\n`);
  natsUrl = stack.use(await provideNatsServer({ dataDir: join(folder, "server"), include: [include] })).url;
  await using admin = await busOf("admin", false);
  await admin.ensureTopology();
  // Once more, as after an update: nothing differs.
  await admin.ensureTopology();
});

afterAll(() => stack.disposeAsync());

function busOf(user: BrokerUser, topologyGiven = true): Promise<Bus> {
  const natsSeedFile = join(folder, `${user}.seed`);
  return connectBus({ ...brokerOptions(user, { natsUrl, natsSeedFile }), topologyGiven });
}

async function useBucket(bucket: KvBucket): Promise<void> {
  const revision = await bucket.create("some.key", bytes);
  await bucket.update("some.key", bytes, revision);
  expect((await bucket.get("some.key"))?.value).toEqual(bytes);
  await bucket.delete("some.key");
}

/** Reads until all that there is was given. */
async function readAll(bus: Bus, options: Omit<ReadOptions, "onBatch" | "onCaughtUp">): Promise<string[]> {
  const subjects: string[] = [];
  const caughtUp = Promise.withResolvers<void>();
  await using reader = bus.readStream({
    ...options,
    onBatch: (messages) => void subjects.push(...messages.map(({ subject }) => subject)),
    onCaughtUp: () => caughtUp.resolve(),
  });
  await Promise.race([caughtUp.promise, reader.done]);
  return subjects;
}

it("worker: pulls, settles, keeps what plugins keep, fetches modules", async () => {
  await using control = await busOf("control");
  const sha256 = await control.modules.put(bytes);
  await using worker = await busOf("worker");
  await worker.ensureTopology();
  await worker.ensureQueueConsumers("default", { ackWaitMs: 30_000 });
  await control.publishDurable(jobSubject("high", "default", "t", "1"), bytes);
  const { promise: reply, resolve } = Promise.withResolvers<string>();
  const pull = { batch: 1, expiresMs: 5000 };
  worker.pull("JOBS_HIGH", "w_default", pull, {
    onMessage: (message) => resolve(message.reply),
    onEnd: () => undefined,
  });
  worker.ack(await reply);
  await expect.poll(async () => (await control.streamState("JOBS_HIGH")).messages).toBe(0);
  await worker.publishDurable("events.batch.w1", bytes);
  await worker.publishDurable("schedule.high.default.t.1", bytes);
  await worker.publishDurable("events.app.order.paid", bytes);
  await useBucket(worker.kv("pluginState"));
  await useBucket(worker.kv("crashes"));
  await worker.kv("recordings").put("job", bytes);
  expect((await control.kv("recordings").get("job"))?.value).toEqual(bytes);
  const names = new TextEncoder().encode(JSON.stringify({ subjects_filter: "$KV.millrace_plugin_state.>" }));
  const info = `$JS.API.STREAM.INFO.KV_${buckets.pluginState.name}`;
  expect((await worker.request(info, names, { timeoutMs: 5000 })).data.length).toBeGreaterThan(0);
  for (const bucket of ["queues", "cancel", "plugins", "pluginKeys", "pluginState"] as const) {
    await worker.kv(bucket).entries();
  }
  expect(await worker.modules.get(sha256)).toEqual(bytes);
  await control.modules.delete(sha256, (await control.modules.revision(sha256)) ?? 0);
});

it("control: keeps its buckets, watches events, puts right what a crash of the broker left", async () => {
  await using control = await busOf("control");
  for (const bucket of ["queues", "cancel", "plugins", "pluginKeys", "settings", "unique", "pluginTypes"] as const) {
    await useBucket(control.kv(bucket));
  }
  for (const bucket of ["queues", "cancel", "plugins", "pluginKeys", "settings"] as const) {
    await control.kv(bucket).entries();
  }
  expect(await control.kv("cancel").compact()).toBe(1);
  expect(await control.sweepZombies({ settleMs: 1 })).toEqual({ deleted: 0, republished: 0 });
  const { seq } = await control.publishDurable(jobSubject("low", "other", "t", "1"), bytes);
  expect(await control.deleteMessage("JOBS_LOW", seq)).toBe(true);
  expect(await readAll(control, { stream: eventsStream, start: "first" })).toContain("events.submitted.low.other.t.1");
});

it("scheduler and projector: read events, take schedules, trim", async () => {
  await using scheduler = await busOf("scheduler");
  await scheduler.ensureSchedulerConsumer({ ackWaitMs: 30_000 });
  await useBucket(scheduler.kv("eventCursors"));
  await scheduler.kv("eventCursors").entries();
  await scheduler.kv("plugins").entries();
  const { seq } = await scheduler.publishDurable(jobSubject("low", "default", "t", "2"), bytes);
  const filter = `${subjectRoots.platformEvents}.>`;
  expect(await readAll(scheduler, { stream: eventsStream, start: "first", filter })).toEqual(["events.app.order.paid"]);
  expect(await scheduler.streamCreatedMs("JOBS_LOW")).toBeGreaterThan(0);

  await using projector = await busOf("projector");
  expect(await readAll(projector, { stream: eventsStream, start: "first" })).toContain("events.batch.w1");
  expect(await projector.deleteMessage("JOBS_LOW", seq)).toBe(true);
  const all = new TextEncoder().encode("{}");
  await projector.request(`$JS.API.STREAM.PURGE.${eventsStream}`, all, { timeoutMs: 5000 });
  expect((await projector.streamState(eventsStream)).messages).toBe(0);
});

it("says at once that the broker refuses a user, whose answer would never come", async () => {
  await using publisher = await busOf("publisher");
  const refused = { code: "permission_denied" };
  const none = new Uint8Array(0);
  await expect(publisher.request("$JS.API.STREAM.INFO.EVENTS", none, { timeoutMs: 60_000 })).rejects.toMatchObject(
    refused,
  );
  await expect(publisher.publishDurable("jobs.high.plugin-events.audit.1", bytes)).rejects.toMatchObject(refused);
  // What another subject waits for goes on.
  await publisher.publishDurable(jobSubject("high", "default", "t", "3"), bytes);
});
