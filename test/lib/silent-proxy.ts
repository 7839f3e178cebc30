import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A TCP proxy on loopback whose connections can go half open: both ends keep theirs, and nothing arrives any more. */
export class SilentProxy implements AsyncDisposable {
  readonly port: number;
  readonly #server: Server;
  readonly #targetPort: number;
  readonly #pairs = new Map<Socket, Socket>();

  private constructor(server: Server, port: number, targetPort: number) {
    this.#server = server;
    this.port = port;
    this.#targetPort = targetPort;
    server.on("connection", (client) => this.#join(client));
  }

  static async to(targetPort: number): Promise<SilentProxy> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return new SilentProxy(server, address.port, targetPort);
  }

  /** Connections that are open, whether anything comes through or not. */
  get open(): number {
    return this.#pairs.size;
  }

  /** From here on nothing goes through what is connected, and no end is told; new connections work. */
  silence(): void {
    for (const [client, target] of this.#pairs) {
      for (const socket of [client, target]) {
        socket.unpipe();
        // Read and thrown away: a full receive window would be a sign of its own.
        socket.resume();
      }
    }
  }

  /** Resets what is connected. */
  cut(): void {
    for (const [client, target] of this.#pairs) {
      client.resetAndDestroy();
      target.resetAndDestroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [client, target] of this.#pairs) {
      client.destroy();
      target.destroy();
    }
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: Socket): void {
    const target = connect(this.#targetPort, "127.0.0.1");
    this.#pairs.set(client, target);
    for (const [socket, other] of [
      [client, target],
      [target, client],
    ] as const) {
      socket.setNoDelay(true);
      // The other end learns of it by the close.
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#pairs.delete(client);
        other.destroy();
      });
      socket.pipe(other);
    }
  }
}
