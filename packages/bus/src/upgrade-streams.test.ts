import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deriveJobId } from "@millrace/protocol";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { authorizationConfig, createBrokerKeys } from "./broker-config.ts";
import { brokerOptions } from "./broker-settings.ts";
import { connectBus, type Bus } from "./bus.ts";
import { call, jobsOf, makeFormerStreams, type Job } from "./former-fixture.ts";
import { startTestNats, TestNats } from "./testing.ts";

const encoder = new TextEncoder();
const seconds = 1_000_000_000;
const setUpMs = 60_000;

let stack: AsyncDisposableStack;
let nats: TestNats;
let bus: Bus;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  nats = stack.use(await startTestNats());
  bus = stack.use(await connectBus({ servers: nats.url, name: "test" }));
}, setUpMs);
afterEach(() => stack.disposeAsync(), setUpMs);

async function makeFormerConsumer(stream: string, name: string, filter: string): Promise<void> {
  const config = {
    durable_name: name,
    ack_policy: "explicit",
    filter_subject: filter,
    ack_wait: seconds,
    max_deliver: -1,
  };
  await call(bus, `CONSUMER.CREATE.${stream}.${name}.${filter}`, { stream_name: stream, config });
}

/** Takes so many jobs, as a worker does; acks the even ones, and keeps the others in hand. */
async function work(stream: string, consumer: string, batch: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  bus.pull(
    stream,
    consumer,
    { batch, expiresMs: 2000 },
    {
      onMessage: ({ reply }) => {
        if (count++ % 2 === 0) bus.ack(reply);
      },
      onEnd: () => resolve(),
    },
  );
  await promise;
  await bus.flush();
}

/** Without the wait for the lease of one that was killed. */
function upgradeOnce(by: Bus, onChange: (log: string, what: string) => void): Promise<unknown> {
  return bus
    .kv("leaders")
    .delete("upgrade")
    .catch(() => undefined)
    .then(() => by.upgradeStreams({ onChange }));
}

const logs = ["JOBS_CRITICAL", "JOBS_HIGH", "JOBS_NORMAL", "JOBS_LOW", "SCHEDULE"];

/** Jobs of all kinds, some in hand of a worker that is gone. @returns what has to be in each log in the end */
async function fillFormerStreams(count: number): Promise<Map<string, Job[]>> {
  await makeFormerStreams(bus);
  const { createdMs } = await bus.streamState("JOBS_HIGH");
  for (let i = 0; i < count; i++) {
    await bus.publishDurable("jobs.high.mail.send", encoder.encode(`bare ${i}`), [["Nats-Msg-Id", `bare-${i}`]]);
    await bus.publishDurable(`jobs.high.mail.send.own-${i}`, encoder.encode(`own ${i}`), [
      ["Nats-Expected-Last-Subject-Sequence", "0"],
      ["Millrace-Attempt", "3"],
      ["X-Own", "kept"],
    ]);
  }
  await bus.publishDurable("jobs.low.other.t.owned.ada", encoder.encode("owned"));
  await bus.publishDurable("jobs.low.odd", encoder.encode("odd"));
  await bus.publishDurable("schedule.normal.mail.send.later", encoder.encode("later"), [
    ["Millrace-Run-At", "9999999999999"],
  ]);
  await makeFormerConsumer("JOBS_HIGH", "w_mail", "jobs.high.mail.>");
  await makeFormerConsumer("SCHEDULE", "scheduler", "schedule.>");
  await work("JOBS_HIGH", "w_mail", 6);
  const wanted = new Map<string, Job[]>();
  for (const log of logs) wanted.set(log, await jobsOf(bus, log));
  const seqs = new Set([1, 3, 5]);
  const high: Job[] = [];
  for (let i = 0; i < count; i++) {
    const seq = 2 * i + 1;
    // By the rule of that version: the stream's creation in place of the message's time.
    const id = deriveJobId({ stream: "JOBS_HIGH", seq, timestampMs: createdMs });
    if (!seqs.has(seq)) high.push({ id, text: `bare ${i}`, headers: {} });
    high.push({ id: `own-${i}`, text: `own ${i}`, headers: { "Millrace-Attempt": "3", "X-Own": "kept" } });
  }
  expect(wanted.get("JOBS_HIGH")?.map(({ text }) => text)).toEqual(high.map(({ text }) => text));
  wanted.set("JOBS_HIGH", high);
  const low = await bus.streamState("JOBS_LOW");
  const odd = deriveJobId({ stream: "JOBS_LOW", seq: 2, timestampMs: low.createdMs });
  wanted.set("JOBS_LOW", [
    { id: "owned", text: "owned", headers: {} },
    { id: odd, text: "odd", headers: {} },
  ]);
  return wanted;
}

async function expectUpgraded(wanted: Map<string, Job[]>): Promise<void> {
  await bus.ensureTopology();
  for (const log of logs) {
    expect([log, await jobsOf(bus, log)]).toEqual([log, wanted.get(log)]);
    const { config } = (await call(bus, `STREAM.INFO.${log}`)) as { config: { retention: string; republish?: object } };
    expect([config.retention, config.republish]).toEqual(["limits", undefined]);
  }
  expect(await bus.planUpgrade()).toEqual([]);
}

test("jobs of the former version are moved in order, with their ids and headers", { timeout: 60_000 }, async () => {
  const wanted = await fillFormerStreams(400);
  await expect(bus.ensureTopology()).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringMatching(
      /JOBS_HIGH is of a former version, and holds 797 jobs.*millrace upgrade streams/,
    ) as string,
  });
  const plan = await bus.planUpgrade();
  expect(plan.map(({ log, stage, messages, inHand }) => [log, stage, messages, inHand])).toEqual([
    ["JOBS_CRITICAL", "former", 0, 0],
    ["JOBS_HIGH", "former", 797, 3],
    ["JOBS_NORMAL", "former", 0, 0],
    ["JOBS_LOW", "former", 2, 0],
    ["SCHEDULE", "former", 1, 0],
  ]);
  const upgraded = await bus.upgradeStreams();
  expect(upgraded.find(({ log }) => log === "JOBS_HIGH")).toEqual({ log: "JOBS_HIGH", moved: 797 });
  await expectUpgraded(wanted);
  // What a queue's workers have had is looked up: they may have ended it.
  expect(await bus.kv("consumers").get("mail")).toBeDefined();
  // A message that is sent now is the log's like any other.
  await bus.publishDurable("jobs.high.mail.send.new", encoder.encode("new"));
});

test("a run that is killed before any of its changes is taken up by the next", { timeout: 240_000 }, async () => {
  const wanted = await fillFormerStreams(400);
  let changes = 0;
  for (let runs = 1, killed = true; killed; runs++) {
    let count = 0;
    const onChange = (): void => {
      changes++;
      // Each run gets one change further than the one before.
      if (++count > 1) throw new Error("killed");
    };
    killed = await bus.upgradeStreams({ onChange }).then(
      () => false,
      (error: unknown) => {
        expect(error).toMatchObject({ message: "killed" });
        return true;
      },
    );
    expect(runs).toBeLessThan(200);
  }
  expect(changes).toBeGreaterThan(40);
  await expectUpgraded(wanted);
});

test("a run whose connection breaks at any moment is taken up by the next", { timeout: 240_000 }, async () => {
  const wanted = await fillFormerStreams(1500);
  let broken = 0;
  for (const afterMs of [50, 150, 250, 350, 450, undefined]) {
    const own = await connectBus({ servers: nats.url, name: "broken" });
    // Messages are on their way then.
    const onTime = (): void => void own[Symbol.asyncDispose]();
    const timer = afterMs === undefined ? undefined : setTimeout(onTime, afterMs);
    await upgradeOnce(own, () => undefined).catch((error: unknown) => {
      if (afterMs === undefined) throw error;
      broken++;
    });
    clearTimeout(timer);
    await own[Symbol.asyncDispose]();
  }
  expect(broken).toBeGreaterThan(2);
  await expectUpgraded(wanted);
});

test(
  "what publishers send while jobs are moved comes in between, and nothing is lost",
  { timeout: 60_000 },
  async () => {
    const wanted = await fillFormerStreams(1000);
    let sent = 0;
    const others: Promise<unknown>[] = [];
    const onChange = (log: string, what: string): void => {
      if (log !== "JOBS_HIGH" || what !== "move jobs") return;
      others.push(
        bus.publishDurable("jobs.high.mail.send", encoder.encode(`other ${sent++}`), [["Nats-Msg-Id", `o${sent}`]]),
      );
    };
    await bus.upgradeStreams({ onChange });
    await Promise.all(others);
    expect(sent).toBeGreaterThan(2);
    const there = await jobsOf(bus, "JOBS_HIGH");
    expect(there.filter(({ text }) => text.startsWith("other"))).toHaveLength(sent);
    expect(there.filter(({ text }) => !text.startsWith("other"))).toEqual(wanted.get("JOBS_HIGH"));
  },
);

test("nothing is changed while a worker of the former version waits for jobs", { timeout: 60_000 }, async () => {
  await makeFormerStreams(bus);
  await bus.publishDurable("jobs.high.mail.send", encoder.encode("a"));
  await makeFormerConsumer("JOBS_LOW", "w_mail", "jobs.low.mail.>");
  const worker = stack.use(await connectBus({ servers: nats.url, name: "worker" }));
  worker.pull(
    "JOBS_LOW",
    "w_mail",
    { batch: 1, expiresMs: 50_000 },
    { onMessage: () => undefined, onEnd: () => undefined },
  );
  await worker.flush();
  expect((await bus.planUpgrade()).find(({ log }) => log === "JOBS_LOW")?.waitingPulls).toBe(1);
  await expect(bus.upgradeStreams({ pullsEndMs: 500 })).rejects.toMatchObject({
    code: "failed_precondition",
    message: "workers of the former version wait for jobs of JOBS_LOW: stop them",
  });
  expect((await bus.planUpgrade()).every(({ stage }) => stage === "former")).toBe(true);
  await bus.publishDurable("jobs.high.mail.send", encoder.encode("b"));
  await worker[Symbol.asyncDispose]();
  await bus.upgradeStreams();
  expect((await jobsOf(bus, "JOBS_HIGH")).map(({ text }) => text)).toEqual(["a", "b"]);
});

test("a former version that was started again after half an upgrade loses nothing", { timeout: 60_000 }, async () => {
  await makeFormerStreams(bus);
  await bus.publishDurable("jobs.high.mail.send", encoder.encode("a"));
  const onChange = (_: string, what: string): void => {
    if (what === "delete the former stream") throw new Error("killed");
  };
  await expect(upgradeOnce(bus, onChange)).rejects.toThrow("killed");
  await expect(bus.requireLogs({ whole: true })).rejects.toThrow(/of a former version/);
  // As its start does.
  const { config } = (await call(bus, "STREAM.INFO.JOBS_CRITICAL")) as { config: object };
  await call(bus, "STREAM.UPDATE.JOBS_CRITICAL", { ...config, subjects: ["jobs.critical.>"] });
  await bus.publishDurable("jobs.critical.mail.send", encoder.encode("b"));
  await bus.upgradeStreams();
  expect((await jobsOf(bus, "JOBS_CRITICAL")).map(({ text }) => text)).toEqual(["b"]);
  expect((await jobsOf(bus, "JOBS_HIGH")).map(({ text }) => text)).toEqual(["a"]);
});

test("the user `admin` of a broker with users may do all of it", { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "millrace-upgrade-"));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const keys = createBrokerKeys();
  const include = join(folder, "authorization.conf");
  const seedFile = join(folder, "admin.seed");
  await writeFile(include, authorizationConfig(keys));
  await writeFile(seedFile, `${keys.find(({ user }) => user === "admin")?.seed ?? ""}\n`);
  const jobs = ["jobs.high.mail.send", "schedule.low.mail.send.a"];
  // The streams of the broker without users, as the one with users finds them.
  await makeFormerStreams(bus);
  for (const job of jobs) await bus.publishDurable(job, encoder.encode(job));
  await makeFormerConsumer("JOBS_HIGH", "w_mail", "jobs.high.mail.>");
  await bus[Symbol.asyncDispose]();
  await nats.stop();
  const secured = stack.use(
    await TestNats.start({
      dataDir: join(folder, "server"),
      storeDir: join(nats.dataDir, "jetstream"),
      include: [include],
    }),
  );
  const who = { natsUrl: secured.url, natsSeedFile: seedFile, natsStreamsGiven: false };
  const admin = stack.use(await connectBus(brokerOptions("admin", who)));
  await expect(admin.requireLogs()).rejects.toThrow(/JOBS_CRITICAL.*of a former version.*millrace upgrade streams/);
  expect(await admin.planUpgrade()).toMatchObject(logs.map((log) => ({ log, stage: "former" })));
  const upgraded = await admin.upgradeStreams();
  expect(upgraded.map(({ moved }) => moved)).toEqual([0, 1, 0, 0, 1]);
  await admin.requireLogs({ whole: true });
  await admin.ensureTopology();
});

describe("former streams without jobs", () => {
  test("are replaced by whoever starts, once, however many do", { timeout: 60_000 }, async () => {
    await makeFormerStreams(bus);
    const buses = await Promise.all(
      Array.from({ length: 6 }, async (_, n) => stack.use(await connectBus({ servers: nats.url, name: `s${n}` }))),
    );
    let jobs = 0;
    await Promise.all(
      buses.map(async (one) => {
        await one.ensureTopology();
        // Whatever another still does: this is in a log.
        await one.publishDurable("jobs.high.mail.send", encoder.encode(`job ${jobs++}`));
      }),
    );
    expect((await bus.streamState("JOBS_HIGH")).messages).toBe(buses.length);
    expect(await bus.planUpgrade()).toEqual([]);
  });

  test("and with the lock of a process that is gone are left to the command", { timeout: 60_000 }, async () => {
    await makeFormerStreams(bus);
    const { config } = (await call(bus, "STREAM.INFO.JOBS_HIGH")) as { config: object };
    await call(bus, "STREAM.UPDATE.JOBS_HIGH", {
      ...config,
      subjects: ["upgrade.former.JOBS_HIGH", "jobs.former.JOBS_HIGH"],
    });
    await bus.publishDurable("upgrade.former.JOBS_HIGH", new Uint8Array(0));
    await expect(bus.ensureTopology()).rejects.toMatchObject({ code: "failed_precondition" });
    await bus.upgradeStreams();
    await bus.ensureTopology();
    expect((await bus.streamState("JOBS_HIGH")).messages).toBe(0);
  });
});
