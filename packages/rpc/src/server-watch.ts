import type { BusMessage } from "@millrace/bus";
import { Code, ConnectError } from "@connectrpc/connect";
import { decodeFrame, encodeFrame, frameKinds, type ProbedStream } from "./nats-frame.ts";
import type { RpcBus } from "./pending-calls.ts";

/** A call that a server has, as its caller sees it. */
export interface WatchedCall {
  /** Of a stream: the server's own id of it, and how many frames went there. */
  stream?(): { readonly serverId: string; readonly sent: number };
  /** Of a stream: how many frames the server has sent; those that have not come by now are lost. */
  onReport?(sent: number): void;
  /** Its server does not have it, or is gone. */
  onLost(error: ConnectError): void;
}

interface Server {
  /** Where it is asked. */
  readonly subject: string;
  /** Where its answers come in: the broker's own word that nobody is there does not say who. */
  readonly token: string;
  readonly calls: Map<string, WatchedCall>;
  /** Since when it has not answered, and how often it was asked since. */
  silentSince: number | undefined;
  unanswered: number;
}

// A question for each so many calls: the broker bounds a message.
const mostAskedAbout = 2_000;
// So many questions have to be open as well: after a standstill of ours the answers are there, and not read yet.
const mostUnanswered = 3;

/** Asks servers whether they still have the calls that they took: what is lost with a connection or a server is known in time. */
export class ServerWatch {
  readonly #bus: RpcBus;
  readonly #prefix: string;
  readonly #silentMs: number;
  readonly #servers = new Map<string, Server>();
  readonly #byToken = new Map<string, Server>();
  #count = 0;

  /** @param prefix of the subjects where answers come in */
  constructor(bus: RpcBus, prefix: string, silentMs: number) {
    this.#bus = bus;
    this.#prefix = prefix;
    this.#silentMs = silentMs;
  }

  /** @param id the caller's, which the server knows from the subject of the answer */
  take(subject: string, id: string, call: WatchedCall): void {
    let server = this.#servers.get(subject);
    if (server === undefined) {
      this.#count += 1;
      // No id of a call begins so.
      const token = `_${this.#count.toString(36)}`;
      server = { subject, token, calls: new Map(), silentSince: undefined, unanswered: 0 };
      this.#servers.set(subject, server);
      this.#byToken.set(token, server);
    }
    server.calls.set(id, call);
  }

  release(subject: string, id: string): void {
    const server = this.#servers.get(subject);
    if (server === undefined) return;
    server.calls.delete(id);
    if (server.calls.size === 0) this.#forget(server);
  }

  /** Asks every server that has calls, and gives up those that have not answered for too long. */
  probe(): void {
    const now = performance.now();
    // A copy: what is lost is asked for elsewhere.
    const all = [...this.#servers.values()];
    for (const server of all) {
      const { silentSince, unanswered } = server;
      if (silentSince !== undefined && now - silentSince >= this.#silentMs && unanswered >= mostUnanswered) {
        this.#lose(server, new ConnectError("the server that has the call does not answer", Code.Unavailable));
        continue;
      }
      server.silentSince ??= now;
      server.unanswered += 1;
      this.#ask(server);
    }
  }

  /** @param token of the subject that it came on; one that is none of a server's is left out */
  onAnswer(token: string, { data }: BusMessage): void {
    const server = this.#byToken.get(token);
    if (server === undefined) return;
    if (data.byteLength === 0) {
      // By the broker: nobody listens where the server was.
      this.#lose(server, new ConnectError("the server that had the call is gone", Code.Unavailable));
      return;
    }
    const { report } = decodeFrame(data).meta;
    if (report === undefined) return;
    server.silentSince = undefined;
    server.unanswered = 0;
    for (const [id, sent] of report.streams) server.calls.get(id)?.onReport?.(sent);
    for (const id of report.gone) {
      server.calls.get(id)?.onLost(new ConnectError("the answer was lost with a connection", Code.Unavailable));
    }
  }

  #ask(server: Server): void {
    let calls: string[] = [];
    let streams: ProbedStream[] = [];
    const send = (): void => {
      const probe = { calls, streams };
      const reply = this.#prefix + server.token;
      // Without a connection nobody answers, which counts.
      this.#bus.publish(server.subject, encodeFrame(frameKinds.probe, { probe }), { reply });
      calls = [];
      streams = [];
    };
    for (const [id, call] of server.calls) {
      const stream = call.stream?.();
      if (stream === undefined) calls.push(id);
      else streams.push([id, stream.serverId, stream.sent]);
      if (calls.length + streams.length >= mostAskedAbout) send();
    }
    if (calls.length + streams.length > 0) send();
  }

  #lose(server: Server, error: ConnectError): void {
    this.#forget(server);
    for (const call of server.calls.values()) call.onLost(error);
  }

  #forget(server: Server): void {
    this.#servers.delete(server.subject);
    this.#byToken.delete(server.token);
  }
}
