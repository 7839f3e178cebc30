import type { Bus, BusMessage } from "@millrace/bus";
import { Code, ConnectError } from "@connectrpc/connect";
import { brokerSilentMs, probeMs, silentMs, unheardMs } from "./nats-liveness.ts";
import { decodeFrame, type Frame } from "./nats-frame.ts";
import { toConnectError } from "./rpc-error.ts";
import { ServerWatch, type WatchedCall } from "./server-watch.ts";

/** The part of the bus that request-reply needs. */
export type RpcBus = Pick<Bus, "publish" | "subscribe" | "newInbox" | "onStatus" | "whenConnected" | "flush">;

export interface NatsTransportOptions {
  /** For calls without a timeout of their own. */
  readonly defaultTimeoutMs?: number;
  /** Calls and streams that may wait for an answer at once. */
  readonly maxPending?: number;
  /** Bound on one answer. */
  readonly readMaxBytes?: number;
  /** A larger frame is sent in pieces; must be below the broker's max_payload. */
  readonly pieceBytes?: number;
  /** Servers that have calls, and the broker, are asked so often whether they are there. */
  readonly probeMs?: number;
  /** A server that does not answer that for so long is taken for dead, and its calls for lost. */
  readonly silentMs?: number;
  /** So is a call that no server has taken for so long. */
  readonly unheardMs?: number;
  /** What only reads is asked for again when no server has taken it for so long, and then for twice as long. */
  readonly askAgainMs?: number;
  /** While the broker does not answer a ping for so long, calls are refused at once. */
  readonly brokerSilentMs?: number;
}

export const defaultNatsLimits = {
  // Above the longest wait of the contract (SubmitJob waits up to 60 s).
  defaultTimeoutMs: 75_000,
  maxPending: 10_000,
  readMaxBytes: 32 * 1024 * 1024,
  pieceBytes: 512 * 1024,
  probeMs,
  silentMs,
  unheardMs,
  askAgainMs: 3_000,
  brokerSilentMs,
};

export type NatsLimits = typeof defaultNatsLimits;

// Calls without a timer of their own are looked over this often.
const mostSweepMs = 1_000;

/** One that waits for frames. */
export interface PendingCall {
  onFrame(frame: Frame): void;
  /** Neither the server nor anybody else will answer. */
  onFailure(error: ConnectError): void;
  /** Looks at what is late. */
  sweep(now: number): void;
  /** What was sent before may be lost. */
  onReconnect?(): void;
}

/** What waits for answers over one connection, all by one wildcard subscription; and whether anybody is there to give them. */
export class PendingCalls implements Disposable {
  readonly bus: RpcBus;
  readonly limits: NatsLimits;
  readonly #prefix: string;
  readonly #watch: ServerWatch;
  readonly #pending = new Map<string, PendingCall>();
  readonly #owned = new DisposableStack();
  #count = 0;
  #sweptAt = performance.now();
  #pingedAt: number | undefined;
  #brokerSilent = false;

  constructor(bus: RpcBus, limits: NatsLimits) {
    this.bus = bus;
    this.limits = limits;
    const inbox = bus.newInbox();
    this.#prefix = `${inbox}.`;
    this.#watch = new ServerWatch(bus, this.#prefix, limits.silentMs);
    this.#owned.use(bus.subscribe(`${inbox}.*`, {}, (message) => this.#onAnswer(message)));
    const sweepMs = Math.min(mostSweepMs, limits.probeMs, limits.askAgainMs);
    this.#every(sweepMs, () => this.#sweep(sweepMs));
    this.#every(limits.probeMs, () => {
      this.#watch.probe();
      if (this.#pending.size > 0 || this.#brokerSilent) this.#pingBroker();
    });
    this.#owned.use(
      bus.onStatus(({ connected }) => {
        if (!connected) return;
        // A copy: what is asked again is pending once more.
        const all = [...this.#pending.values()];
        for (const call of all) call.onReconnect?.();
        this.#watch.probe();
      }),
    );
  }

  get closed(): boolean {
    return this.#owned.disposed;
  }

  /** @throws ConnectError unavailable when nobody could answer it */
  register(call: PendingCall): string {
    if (this.closed) throw unavailable("the transport is closed");
    if (this.#brokerSilent) throw unavailable("the broker does not answer");
    if (this.#pending.size >= this.limits.maxPending) throw unavailable("too many calls wait for answers");
    this.#count += 1;
    const id = this.#count.toString(36);
    this.#pending.set(id, call);
    return id;
  }

  /** Sends a call's frame to whoever serves it. @throws ConnectError unavailable without a connection */
  send(subject: string, frame: Uint8Array, id: string): void {
    if (!this.bus.publish(subject, frame, { reply: this.#prefix + id })) throw unavailable("no connection to NATS");
  }

  /** A server has the call: it is asked from now on whether it still does. */
  take(server: string, id: string, call: WatchedCall): void {
    this.#watch.take(server, id, call);
  }

  /** @param server that has it */
  drop(id: string, server: string | undefined): void {
    this.#pending.delete(id);
    if (server !== undefined) this.#watch.release(server, id);
  }

  /** Of a call that no server has taken. */
  unheard(): ConnectError {
    return unavailable(this.#brokerSilent ? "the broker does not answer" : "no server has taken the call in time");
  }

  [Symbol.dispose](): void {
    this.#owned[Symbol.dispose]();
    for (const call of this.#pending.values()) call.onFailure(unavailable("the transport is closed"));
  }

  #onAnswer(message: BusMessage): void {
    const id = message.subject.slice(this.#prefix.length);
    const call = this.#pending.get(id);
    try {
      if (call === undefined) {
        // Else the caller has given up.
        this.#watch.onAnswer(id, message);
      } else if (message.data.byteLength === 0) {
        // The broker itself answers a request on a subject without subscribers by a bare 503.
        call.onFailure(unavailable("no server answers this call"));
      } else {
        call.onFrame(decodeFrame(message.data));
      }
    } catch (reason) {
      call?.onFailure(toConnectError(reason));
    }
  }

  #sweep(everyMs: number): void {
    const now = performance.now();
    const late = now - this.#sweptAt > 3 * everyMs;
    this.#sweptAt = now;
    // After a standstill of ours what came meanwhile is there, and not read yet.
    if (late) return;
    this.#brokerSilent = this.#pingedAt !== undefined && now - this.#pingedAt >= this.limits.brokerSilentMs;
    // A copy: what is asked again is pending once more.
    const all = [...this.#pending.values()];
    for (const call of all) call.sweep(now);
  }

  /** One at a time: while the broker hangs there is no answer, and no second question. */
  #pingBroker(): void {
    if (this.#pingedAt !== undefined) return;
    this.#pingedAt = performance.now();
    this.bus
      .flush()
      .catch(() => undefined)
      .finally(() => {
        this.#pingedAt = undefined;
        this.#brokerSilent = false;
      });
  }

  #every(ms: number, work: () => void): void {
    const timer = setInterval(work, ms);
    timer.unref();
    this.#owned.defer(() => clearInterval(timer));
  }
}

export function unavailable(message: string): ConnectError {
  return new ConnectError(message, Code.Unavailable);
}

/** Of what changes something: whoever calls has to know that trying again may do it twice. */
export function mayBeDone(error: ConnectError): ConnectError {
  return unavailable(`${error.rawMessage}: it may have been done`);
}
