import { once } from "node:events";
import * as http from "node:http";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** Servers that answer plugins as no good server does, and one that nothing may ever reach. */
export interface HostileServers extends AsyncDisposable {
  /** Named to the worker as allowed, although its address is private. */
  readonly allowedPort: number;
  /** Speaks no HTTP. Allowed as well. */
  readonly garbagePort: number;
  readonly forbiddenPort: number;
  /** Requests that have reached the forbidden one. */
  forbiddenHits(): number;
  /** Most requests that waited at one time at `/wait`. */
  mostWaiting(): number;
}

const largeBytes = 64 << 20;
const chunk = Buffer.alloc(256 << 10, 0x61);

export async function startHostileServers(): Promise<HostileServers> {
  let hits = 0;
  let waiting = 0;
  let mostWaiting = 0;
  const timers = new Set<NodeJS.Timeout>();
  const every = (ms: number, response: http.ServerResponse, run: () => void): void => {
    const timer = setInterval(run, ms);
    timers.add(timer);
    response.on("close", () => clearInterval(timer));
  };
  const answer = (url: URL, response: http.ServerResponse): void => {
    switch (url.pathname) {
      case "/hello":
        response.end("hello");
        return;
      case "/redirect":
        response.writeHead(302, { location: url.searchParams.get("to") ?? "" }).end();
        return;
      case "/redirect-for-ever":
        response.writeHead(307, { location: "/redirect-for-ever" }).end();
        return;
      case "/large": {
        let left = largeBytes;
        const more = (): void => {
          while (left > 0 && !response.destroyed) {
            left -= chunk.length;
            if (!response.write(chunk)) return void response.once("drain", more);
          }
          response.end();
        };
        return more();
      }
      case "/large-header":
        response.writeHead(200, { "x-large": "a".repeat(60_000) }).end();
        return;
      case "/silent":
        return;
      case "/drip":
        response.writeHead(200, { "content-length": "1000000" });
        return every(100, response, () => response.write("."));
      case "/drip-header": {
        response.socket?.write("HTTP/1.1 200 OK\r\n");
        return every(100, response, () => response.socket?.write("x: y\r\n"));
      }
      case "/wait": {
        mostWaiting = Math.max(mostWaiting, ++waiting);
        const timer = setTimeout(() => {
          waiting--;
          response.end("waited");
        }, 500);
        timers.add(timer);
        return;
      }
      case "/broken":
        response.writeHead(200, { "content-length": "1000" });
        response.write("half", () => response.destroy());
        return;
      default:
        response.writeHead(404).end();
    }
  };
  const allowed = http.createServer((request, response) => answer(new URL(request.url ?? "/", "http://x"), response));
  const forbidden = http.createServer((_request, response) => {
    hits++;
    response.end("a secret of the inner network");
  });
  const garbage = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end("\0\0\0 220 this is no HTTP\r\n\r\n");
  });
  const servers: readonly Server[] = [allowed, garbage, forbidden];
  const sockets = new Set<Socket>();
  for (const server of servers) {
    server.on("connection", (socket: Socket) => {
      sockets.add(socket);
      socket.once("close", () => sockets.delete(socket));
    });
  }
  const ports = await Promise.all(servers.map(listen));
  return {
    allowedPort: ports[0] ?? 0,
    garbagePort: ports[1] ?? 0,
    forbiddenPort: ports[2] ?? 0,
    forbiddenHits: () => hits,
    mostWaiting: () => mostWaiting,
    async [Symbol.asyncDispose]() {
      for (const timer of timers) clearInterval(timer);
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
      for (const socket of sockets) socket.destroy();
      await Promise.all(closed);
    },
  };
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
