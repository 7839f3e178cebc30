/** What services do with the broker works as their users: each operation of the bus that a service needs, by its own user. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  commandSubject,
  eventsStream,
  jobLogs,
  jobSubject,
  repairSubject,
  rowsSubject,
  scheduleStream,
  sharedScheduleSubject,
  subjectRoots,
} from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { authorizationConfig, createBrokerKeys } from "./broker-config.ts";
import { brokerOptions } from "./broker-settings.ts";
import type { BrokerUser } from "./broker-users.ts";
import { connectBus, type Bus } from "./bus.ts";
import type { KvBucket } from "./kv-bucket.ts";
import { LeaderLease } from "./leader-lease.ts";
import { isAtLeast } from "./require-replicas.ts";
import type { ReadOptions } from "./stream-reader.ts";
import { startTestNats, TestNats } from "./test-nats.ts";

const bytes = new TextEncoder().encode("stored");
const version = await brokerVersion();

async function brokerVersion(): Promise<string> {
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "version" });
  return bus.info.version;
}

// Newer brokers may name domain and account in the subject of an ack.
describe.each([
  { prefix: undefined, ackForm: false },
  { prefix: "acme", ackForm: false },
  ...(isAtLeast(version, [2, 14, 0]) ? [{ prefix: "acme", ackForm: true }] : []),
])("with the prefix $prefix, acks in the newer form: $ackForm", ({ prefix, ackForm }) => {
  const stack = new AsyncDisposableStack();
  let folder: string;
  let natsUrl: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "millrace-access-"));
    stack.defer(() => rm(folder, { recursive: true, force: true }));
    const keys = createBrokerKeys();
    const include = join(folder, "authorization.conf");
    const features = ackForm ? "feature_flags { js_ack_fc_v2: true }\n" : "";
    await writeFile(include, features + authorizationConfig(keys, { prefix }));
    for (const { user, seed } of keys) await writeFile(join(folder, `${user}.seed`), `${seed}\n`);
    natsUrl = stack.use(await TestNats.start({ dataDir: join(folder, "server"), include: [include] })).url;
    await using admin = await busOf("admin", false);
    await admin.ensureTopology();
    // Once more, as after an update: nothing differs.
    await admin.ensureTopology();
  });

  afterAll(() => stack.disposeAsync());

  function busOf(user: BrokerUser, natsStreamsGiven = true): Promise<Bus> {
    const natsSeedFile = join(folder, `${user}.seed`);
    return connectBus(brokerOptions(user, { natsUrl, natsSeedFile, natsStreamsGiven, natsPrefix: prefix }));
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
    const subject = await reply;
    expect(subject.split(".").length > 9).toBe(ackForm);
    worker.ack(subject);
    const heard = Promise.withResolvers<Uint8Array>();
    using _ear = worker.subscribe("jobs.*.asleep.>", {}, (message) => heard.resolve(message.data));
    await worker.flush();
    await control.publishDurable(jobSubject("high", "asleep", "t", "1"), bytes);
    expect(new Uint8Array(await heard.promise)).toEqual(bytes);
    expect(await worker.lastMessage("JOBS_HIGH", "jobs.high.asleep.>")).toMatchObject({ data: bytes });
    expect(await worker.lastMessage("JOBS_HIGH", "jobs.high.none.>")).toBeUndefined();
    expect((await worker.listConsumers("JOBS_HIGH")).map(({ name }) => name)).toContain("w_default");
    await expect.poll(async () => (await control.consumerState("JOBS_HIGH", "w_default")).ackPending).toBe(0);
    await worker.publishDurable("events.batch.w1", bytes);
    await worker.publishDurable("schedule.high.default.t.1", bytes);
    await worker.publishDurable(sharedScheduleSubject("high", "default", "t", "ada"), bytes);
    await worker.publishDurable("events.app.order.paid", bytes);
    for (const bucket of ["pluginState", "crashes", "consumers", "workers"] as const)
      await useBucket(worker.kv(bucket));
    await worker.kv("recordings").put("job", bytes);
    expect((await control.kv("recordings").get("job"))?.value).toEqual(bytes);
    await worker.kv("pluginState").put("a.b", bytes);
    expect(await worker.kv("pluginState").keys("a.*")).toEqual(["a.b"]);
    for (const bucket of ["queues", "cancel", "plugins", "pluginKeys", "pluginState", "consumers"] as const) {
      await worker.kv(bucket).entries();
    }
    expect(await worker.modules.get(sha256)).toEqual(bytes);
    await control.modules.delete(sha256, (await control.modules.revision(sha256)) ?? 0);
  });

  it("control: keeps its buckets, watches events, asks logs, workers and the projector", async () => {
    await using control = await busOf("control");
    for (const bucket of ["queues", "cancel", "plugins", "pluginKeys", "settings", "unique", "pluginTypes"] as const) {
      await useBucket(control.kv(bucket));
    }
    for (const bucket of ["queues", "cancel", "plugins", "pluginKeys", "settings", "workers"] as const) {
      await control.kv(bucket).entries();
    }
    expect(await control.kv("cancel").compact()).toBe(1);
    const { seq } = await control.publishDurable(jobSubject("low", "other", "t", "1"), bytes);
    expect(await control.lastMessage("JOBS_LOW", "jobs.low.*.*.1")).toMatchObject({ seq });
    expect((await control.messageAt("JOBS_LOW", seq))?.subject).toBe("jobs.low.other.t.1");
    await control.listConsumers("JOBS_LOW");
    await control.limits();
    expect(await readAll(control, { stream: eventsStream, start: "first" })).toContain("events.batch.w1");
    // By broker's permissions nobody but the projector removes anything of a log.
    await expect(control.upkeep.deleteMessage("JOBS_LOW", seq)).rejects.toMatchObject({ code: "permission_denied" });
    await expect(control.upkeep.purgeBelow("JOBS_HIGH", 2)).rejects.toThrow(/empty|may not/);

    await using worker = await busOf("worker");
    await using projector = await busOf("projector");
    using _worker = worker.subscribe(commandSubject("w1"), {}, ({ reply }) => void worker.publish(reply, bytes));
    using _rows = projector.subscribe(rowsSubject, {}, ({ reply }) => void projector.publish(reply, bytes));
    using _repair = projector.subscribe(repairSubject, {}, ({ reply }) => void projector.publish(reply, bytes));
    await Promise.all([worker.flush(), projector.flush()]);
    const asking = [
      [control, commandSubject("w1")],
      [projector, commandSubject("w1")],
      [control, rowsSubject],
      [worker, rowsSubject],
      [control, repairSubject],
    ] as const;
    for (const [bus, subject] of asking) await bus.request(subject, bytes, { timeoutMs: 5000 });
  });

  it("scheduler: reads events, hears of schedules, publishes what is due", async () => {
    await using scheduler = await busOf("scheduler");
    await useBucket(scheduler.kv("eventCursors"));
    await scheduler.kv("eventCursors").entries();
    await scheduler.kv("plugins").entries();
    await using lease = await LeaderLease.acquire(scheduler, "plugins", "s1", AbortSignal.timeout(5000));
    expect(lease).toBeDefined();
    using _ear = scheduler.subscribe("schedule.>", {}, () => undefined);
    await scheduler.publishDurable(jobSubject("low", "default", "t", "2"), bytes);
    await scheduler.publishDurable("jobs.low.default.t.-.ada", bytes);
    const filter = `${subjectRoots.platformEvents}.>`;
    const read = await readAll(scheduler, { stream: eventsStream, start: "first", filter });
    expect(read).toEqual(["events.app.order.paid"]);
    for (const log of jobLogs) expect(await scheduler.streamCreatedMs(log)).toBeGreaterThan(0);
  });

  it("projector: reads all logs and events, trims them, puts consumers right, publishes anew", async () => {
    await using projector = await busOf("projector");
    const published = [
      "jobs.high.default.t.3",
      "jobs.high.default.t.4.ada",
      "schedule.high.default.t.5.ada",
      "events.batch.p1",
      "events.submitted.JOBS_HIGH",
    ];
    for (const subject of published) await projector.publishDurable(subject, bytes);
    for (const stream of [...jobLogs, eventsStream]) await readAll(projector, { stream, start: "first" });
    expect(await readAll(projector, { stream: scheduleStream, start: "first" })).toContain(published[2]);
    const { lastSeq } = await projector.streamState("JOBS_HIGH");
    await projector.upkeep.purgeBelow("JOBS_HIGH", lastSeq - 1);
    expect((await projector.streamState("JOBS_HIGH")).messages).toBe(2);
    expect(await projector.upkeep.deleteMessage("JOBS_HIGH", lastSeq - 1)).toBe(true);
    expect(await projector.upkeep.turnBackConsumers("JOBS_HIGH")).toEqual([]);
    expect(await projector.upkeep.unfilteredConsumers("JOBS_HIGH")).toEqual([]);
    expect(await projector.lastMessage(eventsStream, "events.submitted.JOBS_HIGH")).toBeDefined();
    const end = (await projector.streamState(eventsStream)).lastSeq;
    await projector.upkeep.purgeBelow(eventsStream, end);
    expect((await projector.streamState(eventsStream)).messages).toBe(1);
    for (const bucket of ["queues", "cancel", "consumers"] as const) await useBucket(projector.kv(bucket));
    for (const bucket of ["queues", "cancel", "consumers", "eventCursors", "workers"] as const) {
      await projector.kv(bucket).entries();
    }
    const revision = await projector.kv("cancel").put("gone", bytes);
    await projector.kv("cancel").remove("gone", revision);
    await using lease = await LeaderLease.acquire(projector, "projection", "p1", AbortSignal.timeout(5000));
    expect(lease).toBeDefined();
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
});
