import { createClient, type Client } from "@connectrpc/connect";
import { fromJsonString } from "@bufbuild/protobuf";
import { EventService, eventsStream, PlatformEventSchema, type PlatformEvent } from "@millrace/protocol";
import { Code, createDirectTransport, createPipeline } from "@millrace/rpc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
let events: Client<typeof EventService>;
const stored: PlatformEvent[] = [];
let wake = Promise.withResolvers<void>();

beforeAll(async () => {
  fixture = await startControlFixture();
  events = createClient(EventService, createDirectTransport(createPipeline({ services: fixture.control.services })));
  fixture.bus.readStream({
    stream: eventsStream,
    filter: "events.app.>",
    start: "first",
    onBatch: (messages) => {
      for (const { data } of messages) stored.push(fromJsonString(PlatformEventSchema, Buffer.from(data).toString()));
      wake.resolve();
      wake = Promise.withResolvers();
    },
  });
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

test("an event is stored once for its id", async () => {
  const data = { kind: { case: "stringValue" as const, value: "ada" } };
  expect(await events.publishEvent({ name: "order.paid", data, id: "e1" })).toMatchObject({ id: "e1" });
  await events.publishEvent({ name: "order.paid", data, id: "e1" });
  const { id } = await events.publishEvent({ name: "mail.bounced" });
  expect(id).toMatch(/^[0-9A-Z]{26}$/);
  while (stored.length < 2) await wake.promise;
  expect(stored.map((event) => [event.id, event.name, event.source])).toEqual([
    ["e1", "order.paid", "control"],
    [id, "mail.bounced", "control"],
  ]);
  expect(stored[0]?.data?.kind).toEqual({ case: "stringValue", value: "ada" });
  expect(stored[1]?.at).toBeDefined();
});

test("names of Millrace's own, and none at all, are refused", async () => {
  for (const name of [
    "job.succeeded",
    "audit.job_service.cancel_job",
    "user",
    "user.login",
    "plugin.canary_taken_back",
  ]) {
    await expect(events.publishEvent({ name }), name).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      rawMessage: "name: events that begin with audit, job, plugin, user are Millrace's own",
    });
  }
  // Only the first part as a whole counts.
  await events.publishEvent({ name: "users.login" });
  await expect(events.publishEvent({ name: "User Login" })).rejects.toThrow("name");
});
