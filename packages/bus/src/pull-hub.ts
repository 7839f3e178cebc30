import type { Msg, Subscription } from "nats";
import { hasReply, messageStatus } from "./bus-message.ts";
import { Delivery } from "./delivery.ts";
import type { Link } from "./link.ts";
import { consumerElections } from "./namespace.ts";
import { Sweeper } from "./sweeper.ts";

export interface PullOptions {
  readonly batch: number;
  /** How long the broker waits for messages. */
  readonly expiresMs: number;
  /** Answer with what is there; when nothing is, wait for the first message. */
  readonly noWait?: boolean;
  /** Bound on the answer; must hold the largest single message. */
  readonly maxBytes?: number;
  /** The consumer has no copies: no other server takes over, and the pull is soon given up when the broker is silent. */
  readonly alone?: boolean;
}

/**
 * Why a pull is over. `filled`: batch complete. `empty`: nothing (more) is there. `busy`: others wait already, come back after a
 * jittered pause. `limited`: the consumer refuses for now. `moved`: another server of the cluster leads the consumer, and knows
 * nothing of the pull: send it again. `unserved`: nobody takes pulls for it, as while a leader is elected, or of a consumer that does not
 * exist. `gone`: the consumer was deleted meanwhile. `disconnected`: wait for the connection. `lost`: the broker never said how it
 * ended; also what comes of a consumer that does not exist, so make sure of it.
 */
export type PullEndReason =
  | "filled"
  | "empty"
  | "busy"
  | "limited"
  | "moved"
  | "unserved"
  | "gone"
  | "disconnected"
  | "lost";

export interface PullEnd {
  readonly reason: PullEndReason;
  readonly received: number;
  /** The broker's own words, empty when it gave none. */
  readonly text: string;
}

export interface PullHandlers {
  /** Once for each message. What it throws goes to the log, and the message stays with the consumer. */
  onMessage(message: Delivery): void;
  /** Exactly once, last. What it throws goes to the log. */
  onEnd(end: PullEnd): void;
}

interface OpenPull {
  readonly token: string;
  readonly batch: number;
  readonly handlers: PullHandlers;
  readonly deadlineMs: number;
  /** Of the broker, while it waits for messages; 0: it says nothing. */
  readonly heartbeatMs: number;
  heardMs: number;
  received: number;
}

/** Over the pull's own time before we believe that its end got lost. */
const graceMs = 3000;
/** The same for a pull that is answered at once, where it may have gone to a server that died: others wait for what comes of it. */
const farGraceMs = 1000;
const sweepMs = 500;
/**
 * Of two of these nothing was heard, and a pull is given up: from a consumer without copies, and from others. There it only
 * matters where the word of an election is not heard, and each parked pull costs the broker a message each time.
 */
const aloneHeartbeatMs = 2000;
const heartbeatMs = 5000;
/** The word of an election, and the new leader's to each pull that it has heard of, come in any order within this time. */
const sameElectionMs = 1000;
const encoder = new TextEncoder();

/**
 * Raw `CONSUMER.MSG.NEXT` pulls: one wildcard inbox for each consumer, no promise and no timer for a message.
 * Every pull ends in exactly one `onEnd`, a lost connection included.
 */
export class PullHub implements Disposable {
  readonly #link: Link;
  readonly #channels = new Map<string, PullChannel>();
  /** Of the consumers of each stream, where we may be connected to another server than the one that leads them. */
  readonly #elections = new Map<string, Subscription>();
  readonly #listening: Disposable;
  readonly #sweeper: Sweeper;

  constructor(link: Link) {
    this.#link = link;
    this.#listening = link.onStatus((status) => {
      if (!status.connected) this.#endAll();
    });
    this.#sweeper = new Sweeper(sweepMs, (nowMs) => {
      let open = false;
      for (const channel of this.#channels.values()) open = channel.sweep(nowMs) || open;
      return open;
    });
  }

  pull(stream: string, consumer: string, options: PullOptions, handlers: PullHandlers): void {
    if (!this.#link.connected) {
      queueMicrotask(() => tellEnd(this.#link, handlers, { reason: "disconnected", received: 0, text: "" }));
      return;
    }
    const key = `${stream}.${consumer}`;
    let channel = this.#channels.get(key);
    if (channel === undefined) {
      channel = new PullChannel(this.#link, `$JS.API.CONSUMER.MSG.NEXT.${key}`);
      this.#channels.set(key, channel);
      if (options.alone !== true) this.#hearElections(stream);
    }
    channel.pull(options, handlers);
    this.#sweeper.wake();
  }

  /** Forgets a consumer; its open pulls end as `gone`. */
  release(stream: string, consumer: string): void {
    const key = `${stream}.${consumer}`;
    this.#channels.get(key)?.end("gone");
    this.#channels.delete(key);
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
    this.#sweeper[Symbol.dispose]();
    this.#endAll();
    for (const subscription of this.#elections.values()) subscription.unsubscribe();
    this.#elections.clear();
  }

  /** A pull that was on its way to a leader that died is known to nobody: only this tells that it must be sent again. */
  #hearElections(stream: string): void {
    if (this.#elections.has(stream) || !isFar(this.#link)) return;
    const subscription = this.#link.subscribe(consumerElections(stream), ({ subject }) => {
      this.#channels.get(`${stream}.${subject.slice(subject.lastIndexOf(".") + 1)}`)?.moved();
    });
    this.#elections.set(stream, subscription);
  }

  #endAll(): void {
    const channels = [...this.#channels.values()];
    // A new inbox for the next connection: the broker must not fill a pull that its owner gave up.
    this.#channels.clear();
    for (const channel of channels) channel.end("disconnected");
  }
}

class PullChannel {
  readonly #link: Link;
  readonly #nextSubject: string;
  readonly #inbox: string;
  readonly #subscription: Subscription;
  #open: OpenPull[] = [];
  #last: PullHandlers | undefined;
  #counter = 0;
  /** When the last election was heard of. */
  #movedMs = 0;

  constructor(link: Link, nextSubject: string) {
    this.#link = link;
    this.#nextSubject = nextSubject;
    this.#inbox = link.newInbox();
    this.#subscription = link.subscribe(`${this.#inbox}.*`, (message) => this.#receive(message));
  }

  pull(options: PullOptions, handlers: PullHandlers): void {
    const token = (this.#counter++).toString(36);
    const nowMs = Date.now();
    const beatMs = options.alone === true ? aloneHeartbeatMs : heartbeatMs;
    // The broker refuses those that are longer than half of the pull.
    const beats = isFar(this.#link) && options.expiresMs >= 2 * beatMs;
    this.#last = handlers;
    this.#open.push({
      token,
      batch: options.batch,
      handlers,
      deadlineMs: nowMs + options.expiresMs + (options.expiresMs === 0 && isFar(this.#link) ? farGraceMs : graceMs),
      heartbeatMs: beats ? beatMs : 0,
      heardMs: nowMs,
      received: 0,
    });
    const request = {
      batch: options.batch,
      expires: options.expiresMs * 1_000_000,
      ...(beats ? { idle_heartbeat: beatMs * 1_000_000 } : {}),
      ...(options.noWait === true ? { no_wait: true } : {}),
      ...(options.maxBytes === undefined ? {} : { max_bytes: options.maxBytes }),
    };
    this.#link.publish(this.#nextSubject, encoder.encode(JSON.stringify(request)), `${this.#inbox}.${token}`);
  }

  /** @returns whether pulls are open */
  sweep(nowMs: number): boolean {
    // A copy: the callee may change it.
    const all = [...this.#open];
    for (const pull of all) {
      const silentMs = pull.heartbeatMs === 0 ? 0 : nowMs - pull.heardMs;
      // Half of one more, for what is under way.
      if (pull.deadlineMs <= nowMs || silentMs > 2.5 * pull.heartbeatMs) this.#end(pull, "lost", "");
    }
    return this.#open.length > 0;
  }

  end(reason: PullEndReason): void {
    this.#subscription.unsubscribe();
    this.#endOpen(reason);
  }

  /** Another server leads the consumer: it knows of none of the pulls. */
  moved(): void {
    const nowMs = Date.now();
    // What was sent since the first word of an election is in the new leader's hands.
    if (nowMs - this.#movedMs < sameElectionMs) return;
    this.#movedMs = nowMs;
    this.#endOpen("moved");
  }

  #endOpen(reason: PullEndReason): void {
    // A copy: the callee may change it.
    const all = [...this.#open];
    for (const pull of all) this.#end(pull, reason, "");
  }

  #receive(message: Msg): void {
    if (!hasReply(message)) return this.#receiveStatus(message);
    // A message carries its own subject, not the pull's; the broker serves pulls in the order they came.
    const pull = this.#open[0];
    const delivery = new Delivery(message, this.#link.namespace);
    // After its end was given up for lost, a message still belongs to somebody.
    if (pull === undefined) return this.#tell(this.#last, delivery);
    pull.received++;
    if (pull.heartbeatMs > 0) pull.heardMs = Date.now();
    this.#tell(pull.handlers, delivery);
    if (pull.received >= pull.batch) this.#end(pull, "filled", "");
  }

  #receiveStatus(message: Msg): void {
    const status = messageStatus(message);
    if (status === undefined) return;
    const token = message.subject.slice(message.subject.lastIndexOf(".") + 1);
    const index = this.#open.findIndex((pull) => pull.token === token);
    const pull = this.#open[index];
    if (pull === undefined) return;
    if (status.code === 100) {
      pull.heardMs = Date.now();
      return;
    }
    this.#open.splice(index, 1);
    const next = this.#open[index];
    // What it was credited with beyond what it got belongs to the next one.
    const surplus = status.code === 408 ? pull.received - (pull.batch - status.pendingMessages) : 0;
    if (next !== undefined && surplus > 0) {
      next.received += surplus;
      pull.received -= surplus;
    }
    const { code, text } = status;
    const reason = reasonOf(code, text);
    if (reason === "moved") this.moved();
    tellEnd(this.#link, pull.handlers, { reason, received: pull.received, text });
    if (next !== undefined && next.received >= next.batch) this.#end(next, "filled", "");
  }

  #end(pull: OpenPull, reason: PullEndReason, text: string): void {
    const index = this.#open.indexOf(pull);
    if (index < 0) return;
    this.#open.splice(index, 1);
    tellEnd(this.#link, pull.handlers, { reason, received: pull.received, text });
  }

  /** The count of the pull must be right, whatever becomes of one message. */
  #tell(handlers: PullHandlers | undefined, delivery: Delivery): void {
    try {
      handlers?.onMessage(delivery);
    } catch (err) {
      this.#link.callbackFailed(this.#nextSubject, err);
    }
  }
}

/** Whether a consumer may be on another server than the one we are connected to. */
function isFar(link: Link): boolean {
  return link.client.info?.cluster !== undefined || link.namespace?.domain !== undefined;
}

function tellEnd(link: Link, handlers: PullHandlers, end: PullEnd): void {
  link.guard("end of a pull", () => handlers.onEnd(end));
}

function reasonOf(code: number, text: string): PullEndReason {
  if (code === 404) return "empty";
  if (code === 408) return /Requests Pending/i.test(text) ? "busy" : "empty";
  if (code === 503) return "unserved";
  if (code === 409 && /Consumer Deleted/i.test(text)) return "gone";
  if (code === 409 && /Leadership|Server Shutdown/i.test(text)) return "moved";
  if (code === 409 && /MaxBytes|Batch Completed/i.test(text)) return "filled";
  return "limited";
}
