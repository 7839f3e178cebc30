/** Streams are made as a broker's store allows, and what somebody has set on them stays. */
import { mkdtemp, rm, statfs, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  buckets,
  defaultTopologyLimits,
  eventsStream,
  jobLogs,
  moduleBucket,
  scheduleStream,
} from "@millrace/protocol";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import type { BusLogger } from "./bus-logger.ts";
import type { BusOptions } from "./link.ts";
import { JsonObject } from "./json.ts";
import { TestNats } from "./test-nats.ts";

const encoder = new TextEncoder();
const logs = [...jobLogs, eventsStream];
const kv = Object.values(buckets).map(({ name }) => `KV_${name}`);
const all = [...logs, ...kv, `OBJ_${moduleBucket}`];
let root: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "millrace-topology-"));
});

afterAll(() => rm(root, { recursive: true, force: true }));

/** A broker whose `jetstream` block, or accounts, are as given. */
async function startBroker(name: string, config: (folder: string) => string): Promise<TestNats> {
  const dataDir = join(root, name);
  const include = join(root, `${name}.conf`);
  await writeFile(include, config(dataDir));
  return TestNats.start({ dataDir, include: [include] });
}

const limitedTo = (bytes: number) => (folder: string) =>
  `jetstream { store_dir: ${JSON.stringify(join(folder, "store"))}, max_file_store: ${bytes} }\n`;

function busAt(url: string, options: Partial<BusOptions> = {}): Promise<Bus> {
  return connectBus({ servers: url, name: "test", ...options });
}

async function ask(bus: Bus, subject: string, body?: object): Promise<JsonObject> {
  const data = body === undefined ? new Uint8Array(0) : encoder.encode(JSON.stringify(body));
  return JsonObject.parse((await bus.request(`$JS.API.${subject}`, data, { timeoutMs: 5000 })).data);
}

async function config(bus: Bus, stream: string): Promise<JsonObject> {
  return (await ask(bus, `STREAM.INFO.${stream}`)).object("config");
}

async function sizes(bus: Bus): Promise<Map<string, number>> {
  return new Map(
    await Promise.all(all.map(async (name) => [name, (await config(bus, name)).number("max_bytes")] as const)),
  );
}

const total = (some: ReadonlyMap<string, number>): number => [...some.values()].reduce((sum, bytes) => sum + bytes, 0);

it("keeps what an operator has set, unless it is told otherwise", { timeout: 60_000 }, async () => {
  await using server = await startBroker("kept", limitedTo(2 ** 40));
  await using bus = await busAt(server.url);
  await bus.ensureTopology();
  expect((await config(bus, "JOBS_HIGH")).number("max_bytes")).toBe(defaultTopologyLimits.jobStreamBytes);
  const changed = { ...(await config(bus, "JOBS_HIGH")).raw(), max_bytes: 123 << 20 };
  await ask(bus, "STREAM.UPDATE.JOBS_HIGH", changed);
  const dayNs = 24 * 3_600_000 * 1_000_000;
  await ask(bus, `STREAM.UPDATE.${eventsStream}`, { ...(await config(bus, eventsStream)).raw(), max_age: dayNs });
  await bus.ensureTopology();
  expect((await config(bus, "JOBS_HIGH")).number("max_bytes")).toBe(123 << 20);
  expect((await config(bus, eventsStream)).number("max_age")).toBe(dayNs);
  // As the settings of a service say.
  await using told = await busAt(server.url, { topology: { limits: { jobStreamBytes: 200 << 20 } } });
  await told.ensureTopology();
  const limits = await told.limits();
  expect(limits.maxPayloadBytes).toBe(2 << 20);
  expect(limits.streams.map(({ name }) => name)).toEqual(logs);
  for (const { name, maxBytes, maxConsumers, replicas } of limits.streams) {
    expect([name, maxConsumers, replicas]).toEqual([name, 100_000, 1]);
    if (name.startsWith("JOBS_")) expect(maxBytes).toBe(200 << 20);
  }
});

it("leaves the number of consumers of a stream that is there, where the broker holds it fixed", async () => {
  await using server = await startBroker("consumers", limitedTo(2 ** 40));
  await using bus = await busAt(server.url);
  await ask(bus, `STREAM.CREATE.${scheduleStream}`, {
    name: scheduleStream,
    subjects: ["schedule.*.*.*.*", "schedule.*.*.*.*.*"],
    discard: "new",
    storage: "file",
    max_consumers: 50,
    max_bytes: 1 << 30,
  });
  await bus.ensureTopology();
  const schedule = await config(bus, scheduleStream);
  expect([50, 100_000]).toContain(schedule.number("max_consumers"));
  expect([schedule.number("max_bytes"), schedule.number("duplicate_window")]).toEqual([1 << 30, 20_000_000_000]);
});

it("makes all streams, smaller, where the store does not say what it holds", { timeout: 60_000 }, async () => {
  await using server = await startBroker("small", limitedTo(12 * 2 ** 30));
  const said: string[] = [];
  const quiet = (): void => undefined;
  const logger: BusLogger = { debug: quiet, info: quiet, warn: (_, words) => void said.push(words), error: quiet };
  await using bus = await busAt(server.url, { logger });
  await using other = await busAt(server.url);
  await Promise.all([bus.ensureTopology(), other.ensureTopology()]);
  const found = await sizes(bus);
  expect(total(found)).toBeLessThanOrEqual(12 * 2 ** 30);
  expect(total(found)).toBeGreaterThan(4 * 2 ** 30);
  await bus.ensureTopology();
  expect(await sizes(bus)).toEqual(found);
});

it("stays below an account's limit, and the smallest still works", { timeout: 60_000 }, async () => {
  const limit = 200 << 20;
  await using server = await startBroker(
    "account",
    () => `accounts { A { jetstream { max_mem: 10000000, max_file: ${limit} }, users: [{ user: a, password: a }] } }\n`,
  );
  const said: object[] = [];
  const quiet = (): void => undefined;
  const logger: BusLogger = { debug: quiet, info: quiet, warn: (fields) => void said.push(fields), error: quiet };
  await using bus = await busAt(server.url, { user: "a", password: "a", logger });
  await bus.ensureTopology();
  const found = await sizes(bus);
  expect(total(found)).toBeLessThanOrEqual(limit);
  expect(Math.min(...logs.map((name) => found.get(name) ?? 0))).toBeGreaterThan(1 << 20);
  expect(said).toContainEqual(expect.objectContaining({ from: "the account's limit" }));
  await bus.publishDurable("jobs.high.q.t.1", new Uint8Array(1000));
});

it("leaves a reserve of the disk that its folder is on", async () => {
  await using server = await startBroker("disk", limitedTo(2 ** 50));
  await using bus = await busAt(server.url);
  await bus.ensureTopology({ storeDir: root });
  const free = await statfs(root);
  const reserved = (free.blocks * free.bsize) / 10;
  // What others write meanwhile counts too.
  expect(total(await sizes(bus))).toBeLessThan(free.bavail * free.bsize - reserved + 2 ** 30);
});

it("refuses copies where there is no cluster, and other numbers of them", async () => {
  await using server = await startBroker("replicas", limitedTo(2 ** 40));
  await using bus = await busAt(server.url);
  await expect(bus.ensureTopology({ replicas: 2 })).rejects.toMatchObject({ code: "invalid_argument" });
  const alone = { code: "failed_precondition", message: "3 replicas need a cluster: millrace is in none" };
  await expect(bus.ensureTopology({ replicas: 3 })).rejects.toMatchObject(alone);
});

it("changes nothing when one of the streams cannot be brought in line", async () => {
  await using server = await startBroker("refused", limitedTo(2 ** 40));
  await using bus = await busAt(server.url);
  const others = {
    name: scheduleStream,
    subjects: ["schedule.>"],
    retention: "interest",
    storage: "file",
    discard: "new",
  };
  await ask(bus, `STREAM.CREATE.${scheduleStream}`, others);
  // An empty one of a former version, which a log would replace.
  const former = { name: "JOBS_LOW", subjects: ["jobs.low.>"], retention: "workqueue", storage: "file" };
  await ask(bus, "STREAM.CREATE.JOBS_LOW", former);
  await expect(bus.ensureTopology()).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining("retention is interest, should be limits") as string,
  });
  expect((await ask(bus, "STREAM.NAMES")).strings("streams")).toEqual(["JOBS_LOW", scheduleStream]);
  expect((await config(bus, "JOBS_LOW")).strings("subjects")).toEqual(former.subjects);
});
