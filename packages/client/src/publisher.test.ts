import { connectBus, type Bus, type Delivery } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  headerNames,
  jobStream,
  MillraceError,
  SubmitJobRequestSchema,
  SubmitJobResponseSchema,
  type SubmitJobRequest,
} from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JobSpec } from "./job-spec.ts";
import { createPublisher } from "./create-publisher.ts";

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
});

afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

interface Stored {
  readonly subject: string;
  readonly text: string;
  readonly headers: ReadonlyMap<string, string>;
}

/** The first `count` jobs of a log that match. */
async function readLog(stream: string, filter: string, count: number): Promise<Stored[]> {
  const stored: Stored[] = [];
  const complete = Promise.withResolvers<void>();
  await using _ = bus.readStream({
    stream,
    filter,
    start: "first",
    onBatch: (messages) => {
      for (const { subject, data, headers } of messages.map(read)) stored.push({ subject, text: data, headers });
      if (stored.length >= count) complete.resolve();
    },
  });
  await complete.promise;
  return stored;
}

function read(message: Delivery) {
  return {
    subject: message.subject,
    data: new TextDecoder().decode(message.data),
    headers: new Map(message.headers()),
  };
}

function* numbered(count: number, spec: Omit<JobSpec, "payload">): Generator<JobSpec> {
  for (let n = 0; n < count; n++) yield { ...spec, payload: { n } };
}

describe("publish", () => {
  it("stores a job under its subject, with its options as headers", async () => {
    await using publisher = await createPublisher({ bus });
    const accepted = await publisher.publish({
      type: "send_email",
      queue: "emails",
      priority: "high",
      id: "mail-1",
      payload: { to: "a@b.c" },
      maxAttempts: 3,
      timeoutMs: 1500,
      backoff: { kind: "fixed", baseMs: 10 },
      tags: ["a", "b:c"],
      correlationId: "order 7",
    });
    expect(accepted).toEqual({ id: "mail-1", duplicate: false });
    const [message] = await readLog("JOBS_HIGH", "jobs.high.emails.>", 1);
    expect(message?.subject).toBe("jobs.high.emails.send_email.mail-1");
    expect(message?.text).toBe('{"to":"a@b.c"}');
    expect(Object.fromEntries(message!.headers)).toMatchObject({
      [headerNames.messageId]: "mail-1",
      [headerNames.maxAttempts]: "3",
      [headerNames.timeoutMs]: "1500",
      [headerNames.backoff]: "fixed;base=10;max=3600000;jitter=0.2",
      [headerNames.tags]: "a,b:c",
      [headerNames.correlationId]: "order 7",
    });
  });

  it("says that an id is known already", async () => {
    await using publisher = await createPublisher({ natsUrl: nats.url });
    await publisher.publish({ type: "t", id: "twice" });
    expect(await publisher.publish({ type: "t", id: "twice" })).toEqual({ id: "twice", duplicate: true });
  });

  it("sends a job for later to the scheduler", async () => {
    await using publisher = await createPublisher({ bus });
    const runAt = Date.now() + 60_000;
    const { id } = await publisher.publish({ type: "t", payload: "x", runAt });
    const [message] = await readLog("SCHEDULE", "schedule.>", 1);
    expect(message?.subject).toBe("schedule.normal.default.t.-");
    expect(message?.headers.get(headerNames.id)).toBe(id);
    expect(message?.headers.get(headerNames.messageId)).toBe(id);
    expect(message?.headers.get(headerNames.runAt)).toBe(String(runAt));
    await publisher.publish({ type: "t", id: "later", runAt });
    const [named] = await readLog("SCHEDULE", "schedule.*.*.*.later", 1);
    expect(named?.headers.get(headerNames.id)).toBeUndefined();
    expect(named?.headers.get(headerNames.messageId)).toBe("later");
  });

  it("sends a job with a unique key to JobService by request", async () => {
    const requests: SubmitJobRequest[] = [];
    using _ = bus.subscribe("rpc.millrace.jobs.v1.JobService.SubmitJob", {}, ({ data, reply }) => {
      const request = fromBinary(SubmitJobRequestSchema, data);
      requests.push(request);
      if (requests.length === 1) {
        const response = create(SubmitJobResponseSchema, { id: request.id });
        bus.publish(reply, toBinary(SubmitJobResponseSchema, response));
        return;
      }
      const error = { code: "already_exists", message: "taken", details: [], requestId: "r" };
      bus.publish(reply, new TextEncoder().encode(JSON.stringify({ error })), {
        headers: [[headerNames.error, "already_exists"]],
      });
    });
    await bus.flush();
    await using publisher = await createPublisher({ bus });
    const job = { type: "t", uniqueKey: "only one", payload: { a: 1 } };
    const { id } = await publisher.publish(job);
    expect(requests[0]).toMatchObject({ id, uniqueKey: "only one", type: "t" });
    await expect(publisher.publish(job)).rejects.toMatchObject({ code: "already_exists", message: "taken" });
    expect(await publisher.publishMany([job])).toMatchObject({ accepted: 0, refused: 1 });
  });

  it.each<[string, JobSpec, string]>([
    ["type", { type: "no spaces" }, "type"],
    ["queue", { type: "t", queue: "Upper" }, "queue"],
    ["id", { type: "t", id: "a.b" }, "id"],
    ["tags", { type: "t", tags: ["two words"] }, "tags[0]"],
    ["attempts", { type: "t", maxAttempts: 101 }, "max_attempts"],
    ["timeout", { type: "t", timeoutMs: -1 }, "timeout_ms"],
    ["correlation", { type: "t", correlationId: "line\nbreak" }, "correlation_id"],
    ["content type", { type: "t", contentType: "a\r\nb" }, "payload.content_type"],
    ["date", { type: "t", runAt: new Date("never") }, "run_at"],
  ])("refuses a wrong %s by itself", async (_, job, field) => {
    await using publisher = await createPublisher({ bus });
    const error = await publisher.publish(job).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(MillraceError);
    expect(error).toMatchObject({ code: "invalid_argument", details: [{ field }] });
  });

  it("refuses a payload that the broker does not take", async () => {
    await using publisher = await createPublisher({ bus });
    const publishing = publisher.publish({ type: "t", payload: new Uint8Array(2 << 20) });
    await expect(publishing).rejects.toMatchObject({ code: "out_of_range" });
  });
});

describe("publishMany", () => {
  it("stores all in order, with ids of its own", async () => {
    await using publisher = await createPublisher({ bus, maxInFlight: 64 });
    const seen: number[] = [];
    const totals = await publisher.publishMany(numbered(3000, { type: "n", priority: "low" }), {
      onProgress: ({ accepted }) => seen.push(accepted),
    });
    expect(totals).toEqual({ accepted: 3000, duplicates: 0, refused: 0, refusals: [] });
    expect(seen.at(-1)).toBe(3000);
    const stored = await readLog("JOBS_LOW", "jobs.low.>", 3000);
    expect(stored.map((message) => message.text)).toEqual(
      [...numbered(3000, { type: "n" })].map((job) => JSON.stringify(job.payload)),
    );
    // All of one type share a subject; the id is in the headers.
    expect(new Set(stored.map((message) => message.subject))).toEqual(new Set(["jobs.low.default.n"]));
    const ids = stored.map((message) => message.headers.get(headerNames.id) ?? "");
    expect(new Set(ids).size).toBe(3000);
    expect(stored.map((message) => message.headers.get(headerNames.messageId))).toEqual(ids);
    expect([...ids].sort()).toEqual(ids);
  });

  it("counts what it refuses and goes on", async () => {
    await using publisher = await createPublisher({ bus });
    async function* jobs(): AsyncGenerator<JobSpec> {
      yield { type: "t", id: "many-1" };
      yield { type: "bad type" };
      yield { type: "t", payload: new Uint8Array(2 << 20) };
      yield { type: "t", id: "many-1" };
      yield { type: "t", id: "bad id" };
    }
    const totals = await publisher.publishMany(jobs());
    expect(totals).toMatchObject({ accepted: 2, duplicates: 1, refused: 3 });
    expect(totals.refusals.map(({ index, error }) => [index, error.code])).toEqual([
      [1, "invalid_argument"],
      [2, "out_of_range"],
      [4, "invalid_argument"],
    ]);
  });

  it("passes on what the iterable throws, after the answers", async () => {
    await using publisher = await createPublisher({ bus });
    function* jobs(): Generator<JobSpec> {
      yield { type: "t" };
      throw new Error("no more");
    }
    await expect(publisher.publishMany(jobs())).rejects.toThrow("no more");
    expect(publisher.inFlight).toBe(0);
  });
});

describe("when NATS is killed", () => {
  it("loses no job and stores none twice", async () => {
    await using own = await startTestNats();
    await using ownBus = await connectBus({ servers: own.url, name: "test" });
    await ownBus.ensureTopology();
    await using publisher = await createPublisher({ natsUrl: own.url, maxInFlight: 256 });
    const count = 20_000;
    const killed = Promise.withResolvers<void>();
    let killing = false;
    const publishing = publisher.publishMany(numbered(count, { type: "n" }), {
      onProgress: ({ accepted }) => {
        if (killing || accepted === 0) return;
        killing = true;
        own
          .kill9()
          .then(() => own.restart())
          .then(killed.resolve, killed.reject);
      },
    });
    await killed.promise;
    expect(await publishing).toMatchObject({ accepted: count, refused: 0 });
    await ownBus.whenConnected();
    const { messages } = await ownBus.streamState(jobStream("normal"));
    expect(messages).toBe(count);
  });

  it("says so when the way back takes too long", async () => {
    await using own = await startTestNats();
    await using ownBus = await connectBus({ servers: own.url, name: "test" });
    await ownBus.ensureTopology();
    await using publisher = await createPublisher({ natsUrl: own.url, deliveryTimeoutMs: 300 });
    await own.kill9();
    await expect(publisher.publish({ type: "t" })).rejects.toMatchObject({ code: "unavailable" });
  });
});
