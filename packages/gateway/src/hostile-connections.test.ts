import {
  connect as connectHttp2,
  constants,
  createServer as createHttp2Server,
  type ClientHttp2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { once } from "node:events";
import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { createLogger, createMetrics, Health, z } from "@millrace/service-kit";
import { createDirectTransport, createPipeline } from "@millrace/rpc";
import { afterAll, expect, test } from "vitest";
import { gatewaySettings } from "./config.ts";
import { ConnectionLimits } from "./connection-limits.ts";
import type { RefusalReason } from "./refusals.ts";
import { SessionGuard } from "./session-guard.ts";
import { SlowReaders } from "./slow-readers.ts";
import { startGateway } from "./start-gateway.ts";

const stack = new AsyncDisposableStack();
afterAll(() => stack.disposeAsync());
const metrics = createMetrics();
const gateway = stack.use(
  await startGateway(z.object(gatewaySettings).parse({ httpPort: 0, grpcPort: 0 }), {
    transport: createDirectTransport(createPipeline({ services: [] })),
    metrics,
    health: new Health(),
    logger: createLogger({ name: "gateway", level: "silent" }),
  }),
);

async function counted(reason: RefusalReason): Promise<number> {
  const { values } = await metrics.refusals.get();
  return values.find(({ labels }) => labels.reason === reason)?.value ?? 0;
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stack.defer(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Resolves with all that came until the connection was closed. */
async function answerTo(text: string): Promise<string> {
  const socket = connect(Number(new URL(gateway.httpUrl).port), "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString()));
  socket.on("error", () => {});
  socket.write(text);
  await once(socket, "close");
  return answer;
}

test("what is no request is refused in the shape of all refusals, and counted", async () => {
  const large = await answerTo(`GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(40_000)}\r\n\r\n`);
  expect(large).toMatch(/^HTTP\/1\.1 431 /);
  expect(large).toContain('"error":{"code":"out_of_range"');
  expect(await counted("header_size")).toBe(1);
  const odd = await answerTo("this is\r\n\r\n");
  expect(odd).toMatch(/^HTTP\/1\.1 400 /);
  expect(odd).toContain('"requestId":"');
  expect(await counted("malformed")).toBe(1);
});

test("streams reset in bulk end their connection, and then shut their address out", async () => {
  const authority = `http://${gateway.grpcAddress}`;
  const from = { host: "127.0.0.1", port: Number(new URL(authority).port), localAddress: "127.0.0.7" };
  const hammer = async (): Promise<void> => {
    const session: ClientHttp2Session = connectHttp2(authority, { createConnection: () => connect(from) });
    session.on("error", () => {});
    const closed = new Promise<void>((resolve) => session.once("close", resolve));
    const path = "/millrace.system.v1.SystemService/GetInfo";
    for (let n = 0; n < 100; n += 1) {
      const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" });
      stream.on("error", () => {});
      stream.close(constants.NGHTTP2_CANCEL);
    }
    await closed;
  };
  for (let n = 0; n < 3; n += 1) await hammer();
  expect(await counted("resets")).toBe(3);
  await hammer();
  expect(await counted("abuse")).toBe(1);
  // Others come in.
  expect((await fetch(`${gateway.httpUrl}/api/v1/system/info`)).status).toBe(200);
});

test("streams that are too many are refused, others are cut off with their connection, and that is all that ends", async () => {
  const authority = `http://${gateway.grpcAddress}`;
  const from = { host: "127.0.0.1", port: Number(new URL(authority).port), localAddress: "127.0.0.8" };
  const path = "/millrace.system.v1.SystemService/GetInfo";
  const sessions: ClientHttp2Session[] = [];
  const codes: number[] = [];
  const refused = Promise.withResolvers<void>();
  for (let n = 0; n < 6; n += 1) {
    const session = connectHttp2(authority, { createConnection: () => connect(from) });
    sessions.push(session);
    session.on("error", () => {});
    await once(session, "remoteSettings");
    // Without an end of their bodies they stay.
    for (let m = 0; m < 1_000; m += 1) {
      const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc" });
      stream.on("error", () => {
        codes.push(stream.rstCode);
        refused.resolve();
      });
    }
  }
  await refused.promise;
  expect(codes).toContain(constants.NGHTTP2_REFUSED_STREAM);
  expect(await counted("overloaded")).toBeGreaterThan(0);
  // Bodies that wait to be whole, and have nobody to answer any more.
  for (const session of sessions) session.destroy();
  await Promise.all(sessions.map((session) => session.closed || once(session, "close")));
  expect((await fetch(`${gateway.httpUrl}/api/v1/system/info`)).status).toBe(200);
});

test("a silent connection of HTTP/2 is asked again and again whether it is still there", async () => {
  using guard = new SessionGuard({ behindProxies: false, onRefused: () => {}, onAbuse: () => {} });
  const server = createHttp2Server();
  const port = await listening(server);
  const added = once(server, "session") as Promise<[ServerHttp2Session]>;
  const client = connectHttp2(`http://127.0.0.1:${port}`);
  stack.defer(() => client.destroy());
  const [session] = await added;
  guard.add(session);
  for (let n = 0; n < 3; n += 1) {
    const asked = once(client, "ping");
    await expect.poll(() => session.listenerCount("timeout")).toBe(1);
    session.emit("timeout");
    await asked;
  }
});

/** A frame of HTTP/2 (RFC 9113, section 4.1). */
function frameOf(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

test("a connection that goes on to send for a call that was answered is cut off", async () => {
  const refused: RefusalReason[] = [];
  const onRefused = (reason: RefusalReason) => void refused.push(reason);
  using guard = new SessionGuard({ behindProxies: false, onRefused, onAbuse: () => {} });
  const server = createHttp2Server();
  const port = await listening(server);
  const added = once(server, "session") as Promise<[ServerHttp2Session]>;
  server.on("stream", (stream) => {
    guard.admit(stream);
    stream.on("error", () => {});
    stream.respond({ ":status": 200 });
    stream.end(() => stream.close());
  });
  const socket = connect(port, "127.0.0.1");
  const cut = once(socket, "close");
  socket.on("error", () => {});
  socket.resume();
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(frameOf(4, 0, 0, new Uint8Array(0)));
  const [session] = await added;
  guard.add(session);
  session.on("error", () => {});
  session.setLocalWindowSize(2 ** 30);
  const streams = once(server, "stream") as Promise<[ServerHttp2Stream]>;
  // POST / of http://a, whose body does not end.
  socket.write(frameOf(1, 4, 1, Buffer.from([0x83, 0x86, 0x84, 0x41, 0x01, 0x61])));
  const [stream] = await streams;
  await once(stream, "close");
  guard.sweep();
  const data = frameOf(0, 0, 1, Buffer.alloc(16_384));
  const send = async (count: number): Promise<void> => {
    const wanted = session.socket.bytesRead + count * data.byteLength;
    for (let n = 0; n < count; n += 1) socket.write(data);
    await expect.poll(() => session.socket.bytesRead, { timeout: 10_000 }).toBe(wanted);
    guard.sweep();
  };
  await send(2_000);
  expect(refused).toEqual([]);
  await send(100);
  expect(refused).toEqual(["flood"]);
  await cut;
});

test("a connection more than an address may have is closed, where the peer is the caller", async () => {
  for (const behindProxies of [false, true]) {
    const refused: RefusalReason[] = [];
    const onRefused = (reason: RefusalReason) => void refused.push(reason);
    using limits = new ConnectionLimits({ maxConnections: 10, maxPerAddress: 2, behindProxies, onRefused });
    const accepted: Socket[] = [];
    const server = createServer((socket) => {
      accepted.push(socket);
      socket.write("in");
    });
    limits.guard(server);
    const port = await listening(server);
    const open = async (): Promise<"in" | "closed"> => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => {});
      return Promise.race([
        once(socket, "data").then(() => "in" as const),
        once(socket, "close").then(() => "closed" as const),
      ]);
    };
    expect([await open(), await open()]).toEqual(["in", "in"]);
    expect(await open()).toBe(behindProxies ? "in" : "closed");
    expect(refused).toEqual(behindProxies ? [] : ["address_connections"]);
    // One that goes makes room.
    const [first] = accepted;
    const gone = once(first as Socket, "close");
    first?.destroy();
    await gone;
    expect(await open()).toBe("in");
    for (const socket of accepted) socket.destroy();
  }
});

test("a peer that does not read is cut off, one that reads is not", async () => {
  let cuts = 0;
  using readers = new SlowReaders({ graceMs: 1_500, bytesPerSecond: 1024 ** 3 }, () => (cuts += 1));
  const answer = Buffer.alloc(64 * 1024 * 1024);
  const closed: Promise<unknown>[] = [];
  const server = createServer((socket) => {
    readers.watch(socket, () => socket.destroy());
    socket.on("error", () => {});
    closed.push(once(socket, "close"));
    socket.end(answer);
  });
  const port = await listening(server);
  const deaf = connect(port, "127.0.0.1");
  deaf.on("error", () => {});
  deaf.pause();
  await once(deaf, "connect");
  const reader = connect(port, "127.0.0.1");
  let received = 0;
  for await (const chunk of reader) received += (chunk as Buffer).byteLength;
  expect(received).toBe(answer.byteLength);
  await Promise.all(closed);
  expect(cuts).toBe(1);
});
