import { fromJson, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { connectBus, type Bus, type BusMessage } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { headerNames } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HostCaller } from "./host-caller.ts";
import { HostServices } from "./host-services.ts";
import { SecretVault } from "./secret-vault.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

let nats: TestNats;
let bus: Bus;
let services: HostServices;
const told: string[] = [];
beforeAll(async () => {
  nats = await startTestNats();
  bus = await connectBus({ servers: nats.url, name: "test" });
  await bus.ensureTopology();
  const secrets = await SecretVault.open({ env: { MILLRACE_SECRET_TOKEN: "sesame" } });
  services = new HostServices({ bus, secrets, httpPrivate: [], onAnswer: (name, how) => told.push(`${name} ${how}`) });
});
afterAll(async () => {
  await bus[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

const everything = { http: [], kvBytes: 1000, secrets: ["token", "absent"], events: ["order.*"], jobs: ["mail"] };
const nothing = { http: [], kvBytes: 0, secrets: [], events: [], jobs: [] };

function caller(granted: HostCaller["granted"] = everything): HostCaller {
  return {
    plugin: "shop",
    granted,
    jobId: "job-1",
    correlationId: "",
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    signal: new AbortController().signal,
    sent: 0,
    onProgress: (percent, message) => told.push(`${percent} ${message}`),
  };
}

function next(subject: string): Promise<BusMessage> {
  return new Promise((resolve) => {
    const subscription = bus.subscribe(subject, {}, (message) => {
      subscription[Symbol.dispose]();
      resolve(message);
    });
  });
}

test.each([
  ["http", { function: "http.request", meta: { method: "GET", url: "https://example.com/", headers: {} } }],
  ["kv", { function: "kv.get", meta: { key: "k" } }],
  ["kv", { function: "kv.list", meta: { prefix: "", limit: 1 } }],
  ["secrets", { function: "secrets.get", meta: { name: "token" } }],
  ["events", { function: "events.publish", meta: { name: "order.paid" } }],
  ["jobs", { function: "jobs.submit", meta: { type: "mail" } }],
] as const)("%s that is not granted ends the call, and says how to grant it", async (grant, ask) => {
  const answer = await services.answer(caller(nothing), ask);
  expect(answer).toMatchObject({ failure: { code: "HOST_DENIED", fatal: true } });
  expect(answer.failure?.message).toContain(`grant ${grant}`);
  expect(told.at(-1)).toBe(`${ask.function} denied`);
});

test("state is kept from call to call", async () => {
  const body = encoder.encode("v");
  expect(await services.answer(caller(), { function: "kv.set", meta: { key: "k" }, body })).toEqual({ meta: {} });
  const answer = await services.answer(caller(), { function: "kv.get", meta: { key: "k" } });
  expect(answer).toEqual({ meta: { found: true }, body });
  expect(await services.answer(caller(), { function: "kv.get", meta: { key: "none" } })).toEqual({
    meta: { found: false },
  });
});

test("a secret goes to the plugin and into no message", async () => {
  const answer = await services.answer(caller(), { function: "secrets.get", meta: { name: "token" } });
  expect(answer).toEqual({ meta: { value: "sesame" } });
  const absent = await services.answer(caller(), { function: "secrets.get", meta: { name: "absent" } });
  expect(absent).toMatchObject({ failure: { fatal: false } });
  await services.answer(caller(), { function: "progress", meta: { percent: 5, message: "with sesame" } });
  expect(told).toContain("5 with [secret TOKEN]");
});

test("an event is stored under its name, as the plugin's", async () => {
  const stored = next("events.app.order.paid");
  const data = toJson(ValueSchema, fromJson(ValueSchema, { total: 3 }));
  const body = encoder.encode(JSON.stringify(data));
  const answer = await services.answer(caller(), {
    function: "events.publish",
    meta: { name: "order.paid", id: "e-1" },
    body,
  });
  expect(answer).toEqual({ meta: { id: "e-1" } });
  const event: unknown = JSON.parse(decoder.decode((await stored).data));
  expect(event).toMatchObject({ id: "e-1", name: "order.paid", source: "plugin:shop", data: { total: 3 } });
  const refusalOf = async (name: string) =>
    (await services.answer(caller(), { function: "events.publish", meta: { name }, body })).failure?.message;
  for (const name of ["mail.sent", "order.>", "Order"]) expect(await refusalOf(name)).toMatch(/^events: /);
  for (const name of ["job.done", "audit.x", "user.login"]) expect(await refusalOf(name)).toContain("Millrace's own");
  const broken = { function: "events.publish", meta: { name: "order.paid" }, body: encoder.encode("{") } as const;
  expect(await services.answer(caller(), broken)).toMatchObject({ failure: { fatal: false } });
});

test("a job takes over the correlation and the trace", async () => {
  const stored = next("jobs.high.mails.mail");
  const meta = { type: "mail", queue: "mails", priority: "high", maxAttempts: 2, tags: ["a"] };
  const answer = await services.answer(caller(), { function: "jobs.submit", meta, body: encoder.encode("to") });
  const message = await stored;
  expect(answer).toEqual({ meta: { id: message.header(headerNames.id) } });
  expect(message.header(headerNames.messageId)).toBe(message.header(headerNames.id));
  expect(decoder.decode(message.data)).toBe("to");
  expect(message.header(headerNames.correlationId)).toBe("job-1");
  expect(message.header(headerNames.traceparent)).toBe(caller().traceparent);
  expect(message.header(headerNames.maxAttempts)).toBe("2");
  const later = next("schedule.normal.default.mail.late-1");
  await services.answer(caller(), { function: "jobs.submit", meta: { type: "mail", id: "late-1", delayMs: 60_000 } });
  expect(Number((await later).header(headerNames.runAt))).toBeGreaterThan(Date.now());
});

test.each([
  { type: "other" },
  { type: "mail", queue: "plugin-events" },
  { type: "mail", queue: "a.b" },
  { type: "mail", priority: "urgent" },
  { type: "mail", id: "a b" },
  { type: "mail", id: "_audit-1" },
  { type: "mail", backoff: "soon" },
  { type: "mail", tags: ["a b"] },
  { type: "mail", maxAttempts: -1 },
  { type: "mail", replyTo: "jobs.high.x.y" },
])("a job that may not be is refused: %o", async (meta) => {
  expect((await services.answer(caller(), { function: "jobs.submit", meta })).failure?.message).toMatch(/^jobs: /);
});

test("one call may not flood the platform", async () => {
  const flooding = { ...caller(), sent: 256 };
  const answer = await services.answer(flooding, { function: "jobs.submit", meta: { type: "mail" } });
  expect(answer).toMatchObject({ failure: { code: "HOST_DENIED", fatal: true, breach: { limit: 256 } } });
});
