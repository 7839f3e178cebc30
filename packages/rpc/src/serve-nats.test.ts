import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { gatewayRpcSubject, JobService } from "@millrace/protocol";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { testPipeline } from "./fixture.ts";
import { decodeFrame, encodeFrame, frameKinds, type FrameMeta } from "./nats-frame.ts";
import { serveNats } from "./serve-nats.ts";

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());

const nats = stack.use(await startTestNats());
const serverBus = stack.use(await connectBus({ servers: nats.url, name: "server" }));
const bus = stack.use(await connectBus({ servers: nats.url, name: "client" }));
const server = stack.use(serveNats(serverBus, testPipeline(), { takenAfterMs: 10, abandonedMs: 300 }));
await serverBus.flush();

/** Frames that come back to one reply subject. */
async function open(id: string): Promise<{ readonly meta: FrameMeta; readonly inbox: string }> {
  const inbox = bus.newInbox();
  const { promise, resolve } = Promise.withResolvers<FrameMeta>();
  const subscription = bus.subscribe(`${inbox}.a`, {}, ({ data }) => {
    const frame = decodeFrame(data);
    if (frame.kind === frameKinds.accepted) resolve(frame.meta);
  });
  await bus.flush();
  const { parent, name } = JobService.method.watchJob;
  bus.publish(gatewayRpcSubject(parent.typeName, name), encodeFrame(frameKinds.open), { reply: `${inbox}.a` });
  const meta = await promise;
  const request = Buffer.from([0x0a, id.length, ...Buffer.from(id)]);
  bus.publish(meta.subject ?? "", encodeFrame(frameKinds.message, undefined, request, 1));
  bus.publish(meta.subject ?? "", encodeFrame(frameKinds.end, undefined, undefined, 2));
  subscription[Symbol.dispose]();
  return { meta, inbox };
}

test("whatever a server is asked, it serves on, and answers who asks rightly", async () => {
  const { meta } = await open("forever");
  const ask = (data: Uint8Array) =>
    bus.request(meta.server ?? "", data, { timeoutMs: 5_000 }).then(
      (answer) => decodeFrame(answer.data).meta.report,
      () => undefined,
    );
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.json().map((text) => wrongProbe(text)),
      ),
      async (data) => {
        bus.publish(meta.server ?? "", data, { reply: `${bus.newInbox()}.x` });
      },
    ),
    { numRuns: 200 },
  );
  expect(await ask(encodeFrame(frameKinds.probe, { probe: { calls: ["nobody"], streams: [] } }))).toEqual({
    gone: ["nobody"],
    streams: [],
  });
  expect(serverBus.connected).toBe(true);
});

test("a stream whose caller does not ask about it any more ends", async () => {
  await open("forever");
  expect(server.openStreams).toBeGreaterThan(0);
  await expect.poll(() => server.openStreams, { timeout: 3_000 }).toBe(0);
});

function wrongProbe(text: string): Uint8Array {
  return encodeFrame(frameKinds.probe, { probe: JSON.parse(text) as never });
}
