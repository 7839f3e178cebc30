/** A broker that hangs, or to which the way is cut without a word, is left within the bound of three ping intervals. */
import { connect as connectSocket, createServer, type AddressInfo, type Socket } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { connectBus, type Bus } from "./bus.ts";
import { startTestNats, type TestNats } from "./testing.ts";

const leftWithinMs = 17_000;
let nats: TestNats;

beforeAll(async () => {
  nats = await startTestNats();
});

afterAll(() => nats[Symbol.asyncDispose]());

/** Passes bytes on until it is told to swallow them; the sockets stay open, as over a network that drops packets. */
async function startHalfOpenProxy(port: number): Promise<AsyncDisposable & { url: string; swallow: () => void }> {
  const sockets = new Set<Socket>();
  let swallowing = false;
  const server = createServer((client) => {
    const broker = connectSocket(port, "127.0.0.1");
    for (const [from, to] of [
      [client, broker],
      [broker, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => undefined);
      from.on("data", (data) => {
        if (!swallowing) to.write(data);
      });
    }
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `nats://127.0.0.1:${own}`,
    swallow: () => void (swallowing = true),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** How long until the bus says that it has no connection. */
async function untilLeft(bus: Bus): Promise<number> {
  const startedMs = Date.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  using _ = bus.onStatus(({ connected }) => {
    if (!connected) resolve();
  });
  await promise;
  return Date.now() - startedMs;
}

it("goes to another server at once when the one that it is connected to hangs", { timeout: 40_000 }, async () => {
  await using second = await startTestNats();
  await using bus = await connectBus({ servers: [nats.url, second.url], name: "hung" });
  await using first = await connectBus({ servers: nats.url, name: "first" });
  const hanging = bus.serverId === first.serverId ? nats : second;
  const startedMs = Date.now();
  hanging.freeze();
  try {
    await untilLeft(bus);
    await bus.whenConnected();
    expect(Date.now() - startedMs).toBeLessThan(leftWithinMs);
  } finally {
    hanging.thaw();
  }
});

it("leaves a broker that hangs, and one that is cut off, within 17 s", { timeout: 40_000 }, async () => {
  await using proxy = await startHalfOpenProxy(Number(new URL(nats.url).port));
  await using cutOff = await connectBus({ servers: proxy.url, name: "cut off" });
  await using hung = await connectBus({ servers: nats.url, name: "hung" });
  proxy.swallow();
  nats.freeze();
  try {
    const tookMs = await Promise.all([cutOff, hung].map(untilLeft));
    expect(Math.max(...tookMs)).toBeLessThan(leftWithinMs);
  } finally {
    nats.thaw();
  }
  await hung.whenConnected();
});
