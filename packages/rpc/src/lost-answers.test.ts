/** A connection that breaks takes requests and answers with it: neither side hears of that. */
import { createClient } from "@connectrpc/connect";
import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { gatewayRpcSubject, SystemService } from "@millrace/protocol";
import { afterAll, expect, test } from "vitest";
import { testPipeline } from "./fixture.ts";
import { createNatsTransport } from "./nats-transport.ts";
import type { RpcBus } from "./pending-calls.ts";
import { serveNats } from "./serve-nats.ts";

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());

const nats = stack.use(await startTestNats());
const serverBus = stack.use(await connectBus({ servers: nats.url, name: "server" }));
const clientBus = stack.use(await connectBus({ servers: nats.url, name: "client" }));
const pipeline = testPipeline({}, { ended: [], onEnded: () => {} });

test("what only reads is asked for again when no server takes it, and when the connection is back", async () => {
  const subject = gatewayRpcSubject(SystemService.typeName, SystemService.method.getInfo.name);
  let heard = Promise.withResolvers<void>();
  using deaf = serverBus.subscribe(subject, {}, () => heard.resolve());
  await serverBus.flush();
  const reconnected: Parameters<RpcBus["onStatus"]>[0][] = [];
  const bus: RpcBus = {
    ...partsOf(clientBus),
    onStatus: (listener) => {
      reconnected.push(listener);
      return { [Symbol.dispose]: () => undefined };
    },
  };
  await using transport = createNatsTransport(bus, { askAgainMs: 200 });
  const call = createClient(SystemService, transport).getInfo({});
  for (const cause of [() => undefined, () => undefined, () => reconnected[0]?.(clientBus.status)]) {
    cause();
    await heard.promise;
    heard = Promise.withResolvers();
  }
  deaf[Symbol.dispose]();
  await using server = serveNats(serverBus, pipeline);
  void server;
  await serverBus.flush();
  expect((await call).name).toBe("millrace");
});

test("an answer that is ready while the server has no connection goes out with the next one", async () => {
  const lost = Promise.withResolvers<void>();
  const back = Promise.withResolvers<void>();
  let connected = false;
  const bus: RpcBus = {
    ...partsOf(serverBus),
    publish: (...message) => {
      if (connected) return serverBus.publish(...message);
      lost.resolve();
      return false;
    },
    whenConnected: () => back.promise,
  };
  await using server = serveNats(bus, pipeline);
  void server;
  await serverBus.flush();
  await using transport = createNatsTransport(clientBus);
  const call = createClient(SystemService, transport).getInfo({});
  await lost.promise;
  connected = true;
  back.resolve();
  expect((await call).name).toBe("millrace");
});

function partsOf(bus: RpcBus): RpcBus {
  return {
    publish: (...message) => bus.publish(...message),
    subscribe: (...wish) => bus.subscribe(...wish),
    newInbox: (purpose) => bus.newInbox(purpose),
    onStatus: (listener) => bus.onStatus(listener),
    whenConnected: () => bus.whenConnected(),
    flush: () => bus.flush(),
  };
}
