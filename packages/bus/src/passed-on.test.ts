import { jobSubject } from "@millrace/protocol";
import { connect } from "nats";
import { expect, it } from "vitest";
import { connectBus } from "./bus.ts";
import { startTestNats } from "./testing.ts";

it("leaves out what JetStream was made to send to a subject, and keeps what was published there", async () => {
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "control" });
  await bus.ensureTopology();
  await bus.ensureQueueConsumers("default", { ackWaitMs: 30_000 });
  await bus.publishDurable(jobSubject("high", "default", "t", "1"), new TextEncoder().encode("stored"));
  await bus.kv("crashes").put("job", new TextEncoder().encode("stored"));

  const heard: string[] = [];
  const last = Promise.withResolvers<void>();
  const hear = (message: { readonly subject: string; readonly data: Uint8Array }): void => {
    heard.push(`${message.subject} ${new TextDecoder().decode(message.data)}`);
    if (heard.length === 2) last.resolve();
  };
  using _calls = bus.subscribe("rpc.service.Method", {}, hear);
  using _commands = bus.subscribe("cmd.*", {}, hear);
  await bus.flush();

  const other = await connect({ servers: nats.url });
  // Both answers are stored bytes of the caller's choice, under a reply subject of its choice.
  other.publish("$JS.API.CONSUMER.MSG.NEXT.JOBS_HIGH.w_default", "1", { reply: "rpc.service.Method" });
  other.publish("$JS.API.DIRECT.GET.KV_millrace_crashes.$KV.millrace_crashes.job", "", { reply: "cmd.all" });
  await other.flush();
  while ((await bus.consumerState("JOBS_HIGH", "w_default")).ackPending === 0) await bus.flush();
  other.publish("rpc.service.Method", "published");
  other.publish("cmd.all", "published");
  await last.promise;
  await other.close();
  expect(heard.toSorted()).toEqual(["cmd.all published", "rpc.service.Method published"]);
});
