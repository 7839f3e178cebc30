import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy on loopback whose cable can be pulled: what a network does to a client while both ends live on. */
export class CutProxy implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #open = true;
  /** Connections that came through. */
  connections = 0;
  /** Bytes that clients sent, whether they arrived or not. */
  bytesIn = 0;

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
  }

  static async to(targetPort: number): Promise<CutProxy> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const proxy = new CutProxy(server, address.port);
    server.on("connection", (client) => proxy.#join(client, targetPort));
    return proxy;
  }

  /** Resets every connection, with whatever was under way, and refuses new ones until `mend`. */
  cut(): void {
    this.#open = false;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  mend(): void {
    this.#open = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket, targetPort: number): void {
    if (!this.#open) {
      client.resetAndDestroy();
      return;
    }
    this.connections++;
    const target = connect(targetPort, "127.0.0.1");
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      // A reset is what this is for; the other side learns of it by the close.
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
    client.on("data", (chunk: Buffer) => (this.bytesIn += chunk.length));
  }
}
