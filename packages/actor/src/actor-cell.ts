import { ActorError } from "./actor-error.ts";
import type { Actor, ActorContext, ActorRef, ActorSpec, AskOptions, ExitReason } from "./actor-ref.ts";
import type { Clock } from "./clock.ts";
import type { Health } from "./health.ts";
import { Mailbox } from "./mailbox.ts";

const defaultMailboxSize = 1024;
const defaultStopTimeoutMs = 5_000;
/** After so many messages in a row an actor lets the host do I/O. */
const fairness = 256;

interface Envelope {
  message: never;
  resolve?: (value: unknown) => void;
  reject?: (error: unknown) => void;
  /** Set when an `ask` ran out of time before its turn. */
  expired?: boolean;
}

interface Waiter {
  envelope: Envelope;
  resolve: () => void;
  reject: (error: unknown) => void;
}

/** What a cell needs from its surroundings. */
export interface CellHost {
  clock: Clock;
  lookup(path: string): ActorRef<never>;
  watch(ref: ActorRef<never>, onEnd: (reason: ExitReason) => void): () => void;
}

type State = "starting" | "running" | "stopping" | "stopped" | "restarting";

/**
 * A place where one actor lives. The mailbox and the reference survive a restart; the actor does not. The message that
 * failed is gone, its `ask` is rejected, the next ones meet the new actor.
 */
export class ActorCell implements ActorRef<never> {
  readonly path: string;
  readonly name: string;
  readonly spec: ActorSpec;
  /** Counts lives, so that news of an earlier one can be told apart. */
  incarnation = 0;
  restarts = 0;
  onExit: (cell: ActorCell, reason: ExitReason, incarnation: number) => void = () => {};
  #host: CellHost;
  #mailbox: Mailbox<Envelope>;
  #system: (() => void | Promise<void>)[] = [];
  #waiters: Waiter[] = [];
  #actor: Actor<never> | undefined;
  #state: State = "stopped";
  #draining = false;
  #idle: (() => void) | undefined;
  #endWatchers = new Set<(reason: ExitReason) => void>();
  #watching = new Map<string, () => void>();

  constructor(path: string, spec: ActorSpec, host: CellHost) {
    this.path = path;
    this.name = spec.name;
    this.spec = spec;
    this.#host = host;
    this.#mailbox = new Mailbox(spec.mailboxSize ?? defaultMailboxSize);
  }

  get alive(): boolean {
    return this.#state !== "stopped" && this.#state !== "stopping";
  }

  tell(message: never): boolean {
    return this.#enqueue({ message });
  }

  send(message: never): Promise<void> {
    if (!this.alive) return Promise.reject(new ActorError("STOPPED", this.path));
    const envelope: Envelope = { message };
    if (this.#waiters.length === 0 && this.#enqueue(envelope)) return Promise.resolve();
    if (this.#waiters.length >= this.#mailbox.capacity)
      return Promise.reject(new ActorError("MAILBOX_FULL", this.path));
    return new Promise((resolve, reject) => this.#waiters.push({ envelope, resolve, reject }));
  }

  ask(message: never, options: AskOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const envelope: Envelope = { message };
      const cancel = this.#host.clock.after(options.timeoutMs, () => {
        envelope.expired = true;
        reject(new ActorError("ASK_TIMEOUT", this.path));
      });
      envelope.resolve = (value) => {
        cancel();
        resolve(value);
      };
      envelope.reject = (error) => {
        cancel();
        reject(error);
      };
      if (!this.#enqueue(envelope)) envelope.reject(new ActorError(this.alive ? "MAILBOX_FULL" : "STOPPED", this.path));
    });
  }

  async start(): Promise<void> {
    this.#state = this.incarnation === 0 ? "starting" : "restarting";
    const incarnation = ++this.incarnation;
    const context: ActorContext<never> = {
      self: this,
      stop: () => this.#system.push(() => this.#end(incarnation, { kind: "stopped" })) && this.#kick(),
      fail: (error) => this.#system.push(() => this.#end(incarnation, { kind: "failed", error })) && this.#kick(),
      watch: (ref) => this.#watch(ref),
      unwatch: (ref) => this.#unwatch(ref.path),
      lookup: <N, S>(path: string) => this.#host.lookup(path) as ActorRef<N, S>,
    };
    const actor = await this.spec.start(context);
    if (incarnation !== this.incarnation || !this.alive) {
      await actor.stop?.({ kind: "stopped" });
      throw new ActorError("STOPPED", this.path);
    }
    this.#actor = actor;
    // A message that outlived its bounded stop still holds the old drain; that one ends by itself.
    this.#draining = false;
    this.#state = "running";
    this.#kick();
  }

  /** Marks the actor as waiting for its restart: messages queue up meanwhile. */
  expectRestart(): void {
    this.#state = "restarting";
    this.restarts++;
  }

  /** Finishes the message in hand, runs the actor's `stop`, and refuses what is queued unless a restart will follow. */
  async stop(reason: ExitReason = { kind: "stopped" }, keepMailbox = false): Promise<void> {
    if (this.#state === "stopped") return;
    const actor = this.#actor;
    this.#state = keepMailbox ? "restarting" : "stopping";
    this.#actor = undefined;
    this.#system = [];
    await this.#bounded(() => this.#whenIdle());
    await this.#bounded(async () => actor?.stop?.(reason));
    for (const unwatch of this.#watching.values()) unwatch();
    this.#watching.clear();
    for (const notify of this.#endWatchers) notify(reason);
    this.#endWatchers.clear();
    if (!keepMailbox) this.#refuseAll();
  }

  onEnd(notify: (reason: ExitReason) => void): () => void {
    this.#endWatchers.add(notify);
    return () => this.#endWatchers.delete(notify);
  }

  health(): Health {
    const own = this.#state === "running" ? this.#actor?.health?.() : undefined;
    return {
      path: this.path,
      state: this.#state,
      ok: this.#state === "running" && (own?.ok ?? true),
      ...(own?.detail === undefined ? {} : { detail: own.detail }),
      restarts: this.restarts,
      mailbox: this.#mailbox.size,
      children: [],
    };
  }

  #refuseAll(): void {
    this.#state = "stopped";
    const error = new ActorError("STOPPED", this.path);
    for (let e = this.#mailbox.shift(); e !== undefined; e = this.#mailbox.shift()) e.reject?.(error);
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  #enqueue(envelope: Envelope): boolean {
    if (!this.alive || !this.#mailbox.push(envelope)) return false;
    this.#kick();
    return true;
  }

  #kick(): void {
    if (this.#draining || this.#state !== "running") return;
    this.#draining = true;
    queueMicrotask(() => void this.#drain());
  }

  async #drain(): Promise<void> {
    const incarnation = this.incarnation;
    let budget = fairness;
    while (this.#actor !== undefined && this.#state === "running" && incarnation === this.incarnation) {
      const system = this.#system.shift();
      if (system !== undefined) {
        try {
          const pending = system();
          if (pending instanceof Promise) await pending;
        } catch (error) {
          this.#end(incarnation, { kind: "failed", error });
        }
        continue;
      }
      const envelope = this.#mailbox.shift();
      if (envelope === undefined) break;
      this.#admitWaiter();
      if (envelope.expired === true) continue;
      try {
        let answer = this.#actor.receive(envelope.message);
        if (answer instanceof Promise) answer = await answer;
        envelope.resolve?.(answer);
      } catch (error) {
        envelope.reject?.(new ActorError("FAILED", this.path, { cause: error }));
        this.#end(incarnation, { kind: "failed", error });
      }
      if (--budget === 0) {
        await new Promise<void>((resolve) => this.#host.clock.soon(resolve));
        budget = fairness;
      }
    }
    if (incarnation !== this.incarnation) return;
    this.#draining = false;
    this.#idle?.();
    this.#idle = undefined;
    if (this.#mailbox.size > 0 || this.#system.length > 0) this.#kick();
  }

  #end(incarnation: number, reason: ExitReason): void {
    if (incarnation !== this.incarnation || this.#state !== "running") return;
    this.#state = "restarting";
    this.onExit(this, reason, incarnation);
  }

  #admitWaiter(): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) return;
    this.#mailbox.push(waiter.envelope);
    waiter.resolve();
  }

  #watch(ref: ActorRef<never>): void {
    this.#unwatch(ref.path);
    const unwatch = this.#host.watch(ref, (reason) => {
      this.#watching.delete(ref.path);
      this.#system.push(() => this.#actor?.terminated?.(ref, reason));
      this.#kick();
    });
    this.#watching.set(ref.path, unwatch);
  }

  #unwatch(path: string): void {
    this.#watching.get(path)?.();
    this.#watching.delete(path);
  }

  #whenIdle(): Promise<void> {
    if (!this.#draining) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }

  /** An actor that will not stop must not hold up the house; what it throws while stopping has no one left to help. */
  async #bounded(work: () => Promise<void>): Promise<void> {
    let cancel = (): void => {};
    const timeout = new Promise<void>((resolve) => {
      cancel = this.#host.clock.after(this.spec.stopTimeoutMs ?? defaultStopTimeoutMs, resolve);
    });
    await Promise.race([work().catch(() => {}), timeout]);
    cancel();
  }
}
