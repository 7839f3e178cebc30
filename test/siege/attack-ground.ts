import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Where attackers are, and what becomes of their connections. */
export class AttackGround {
  readonly httpPort: number;
  readonly grpcPort: number;
  readonly #from: string;
  readonly #token: string;
  readonly #sockets = new Set<Socket>();
  opened = 0;
  closed = 0;
  sentBytes = 0;
  /** The most that one connection could send. */
  mostSentBytes = 0;

  /**
   * @param from three numbers of an address of this machine; all of 127.0.0.0/8 are
   * @param token of a user who turned on the system
   */
  constructor(httpPort: number, grpcPort: number, from: string, token: string) {
    this.#from = from;
    this.#token = token;
    this.httpPort = httpPort;
    this.grpcPort = grpcPort;
  }

  /** @param attacker which of the attackers; each has an address */
  open(port: number, attacker = 0): Socket {
    const socket = connect({ host: "127.0.0.1", port, localAddress: `${this.#from}.${1 + attacker}` });
    this.#sockets.add(socket);
    socket.on("connect", () => (this.opened += 1));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.closed += 1;
      this.sentBytes += socket.bytesWritten;
      this.mostSentBytes = Math.max(this.mostSentBytes, socket.bytesWritten);
    });
    return socket;
  }

  /** Of all who attack every second one is known, and comes further in than the strangers. */
  credentials(index: number): Readonly<Record<string, string>> {
    return index % 2 === 0 ? {} : { authorization: `Bearer ${this.#token}` };
  }

  get held(): number {
    return [...this.#sockets].filter((socket) => !socket.connecting && !socket.destroyed).length;
  }

  /** Sends pieces, one at a time, until the other side has enough. */
  async pour(socket: Socket, piece: () => Uint8Array, pauseMs: number): Promise<void> {
    while (!socket.destroyed && socket.writable) {
      if (!socket.write(piece())) {
        await new Promise<void>((resolve) => {
          socket.once("drain", resolve);
          socket.once("close", () => resolve());
        });
      }
      await delay(pauseMs);
    }
  }

  report(): string {
    const { opened, closed, held, sentBytes, mostSentBytes } = this;
    return JSON.stringify({ opened, closed, held, sentBytes, mostSentBytes });
  }
}

/** What {@link AttackGround.report} tells. */
export interface AttackReport {
  readonly opened: number;
  readonly closed: number;
  readonly held: number;
  readonly sentBytes: number;
  readonly mostSentBytes: number;
}
