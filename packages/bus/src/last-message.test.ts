import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { startTestNats, type TestNats } from "./testing.ts";

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

it("finds the newest message of a subject, and what lies at a place", async () => {
  const subject = "jobs.high.default.t.a";
  const before = Date.now();
  await bus.publishDurable(subject, Buffer.from("1"), [["Nats-Msg-Id", "m1"]]);
  const { seq } = await bus.publishDurable(subject, Buffer.from("2"), [
    ["Millrace-Tags", "x, y"],
    ["Nats-Msg-Id", "m2"],
  ]);
  await bus.publishDurable("jobs.high.default.t.b", Buffer.from("3"));
  for (const found of [await bus.lastMessage("JOBS_HIGH", subject), await bus.messageAt("JOBS_HIGH", seq)]) {
    expect(found).toMatchObject({ subject, seq });
    expect(Buffer.from(found?.data ?? []).toString()).toBe("2");
    expect(found?.header("Nats-Msg-Id")).toBe("m2");
    expect(found?.header("Millrace-Tags")).toBe("x, y");
    expect(found?.header("Millrace-Id")).toBeUndefined();
    expect(found?.timestampMs).toBeGreaterThanOrEqual(before - 1);
  }
});

it("tells whether a subject is held, with wildcards too", async () => {
  await bus.publishDurable("schedule.low.q.t.x.ada", Buffer.from("1"));
  const held = (subject: string) => bus.holdsSubject("SCHEDULE", subject);
  expect(await held("schedule.low.q.t.x.ada")).toBe(true);
  expect(await held("schedule.*.q.t.x.ada")).toBe(true);
  expect(await held("schedule.*.q.t.x")).toBe(false);
  expect(await held("schedule.high.q.t.x.ada")).toBe(false);
  await expect(bus.holdsSubject("JOBS_NONE", "jobs.none.q.t.x")).rejects.toMatchObject({ code: "not_found" });
});

it("asks the streams of its own installation", async () => {
  await using acme = await connectBus({ servers: nats.url, name: "test", prefix: "acme" });
  await acme.ensureTopology();
  await bus.publishDurable("jobs.low.q.t.theirs", Buffer.from("1"));
  await acme.publishDurable("jobs.low.q.t.ours", Buffer.from("1"));
  expect(await acme.holdsSubject("JOBS_LOW", "jobs.low.q.t.ours")).toBe(true);
  expect(await acme.holdsSubject("JOBS_LOW", "jobs.*.q.t.theirs")).toBe(false);
  expect((await acme.lastMessage("JOBS_LOW", "jobs.low.q.t.ours"))?.subject).toBe("jobs.low.q.t.ours");
});

it("finds nothing where nothing is, and says so when the stream is not there", async () => {
  expect(await bus.lastMessage("JOBS_HIGH", "jobs.high.default.t.none")).toBeUndefined();
  expect(await bus.messageAt("JOBS_HIGH", 1_000_000)).toBeUndefined();
  await expect(bus.lastMessage("JOBS_NONE", "jobs.none.default.t.a")).rejects.toMatchObject({ code: "not_found" });
});
