/** Options of one `ask`. */
export interface AskOptions {
  /** How long the answer may take, queueing included. */
  timeoutMs: number;
}

/**
 * The address of an actor. Local and remote references are sent to alike; a reference outlives restarts of its actor.
 *
 * @typeParam M what the actor understands
 * @typeParam R what it answers to an `ask`
 */
export interface ActorRef<M, R = unknown> {
  /** `<path>` when local, `actor.<node>.<path>` when remote. */
  readonly path: string;
  /** Fire and forget. False when the mailbox is full or the actor has stopped: push back, drop or wait. */
  tell(message: M): boolean;
  /** Waits for a place in the mailbox; rejects with `STOPPED`, or `MAILBOX_FULL` when too many are waiting already. */
  send(message: M): Promise<void>;
  /** Sends and waits for what `receive` returns; rejects with `ASK_TIMEOUT` at the deadline. */
  ask(message: M, options: AskOptions): Promise<R>;
}

/** How an actor ended. */
export type ExitReason = { kind: "stopped" } | { kind: "failed"; error: unknown };

/** The life of one actor as its own code. Every method runs alone: never two at a time. */
export interface Actor<M, R = unknown> {
  /** One message at a time; the returned value is the answer to an `ask`. A throw fails the actor. */
  receive(message: M): R | Promise<R>;
  /** A watched actor has ended (death watch). */
  terminated?(ref: ActorRef<never>, reason: ExitReason): void | Promise<void>;
  /** Runs when the actor is stopped or about to be restarted; gives back what `start` took. */
  stop?(reason: ExitReason): void | Promise<void>;
  /** Said by the registry; absent means well. */
  health?(): { ok: boolean; detail?: string };
}

/** What an actor may do besides answering. */
export interface ActorContext<M, R = unknown> {
  readonly self: ActorRef<M, R>;
  /** Ends this actor in good order after the current message. */
  stop(): void;
  /** Fails this actor from outside a message, for example from a timer or an event of a thread. */
  fail(error: unknown): void;
  /** Calls `terminated` once, when `ref` ends for good or is restarted. */
  watch(ref: ActorRef<never>): void;
  unwatch(ref: ActorRef<never>): void;
  /** A reference by path, local or `actor.<node>.<path>`. */
  lookup<N, S = unknown>(path: string): ActorRef<N, S>;
}

/** When a child is started again: always, after a failure only, or never. */
export type RestartPolicy = "permanent" | "transient" | "temporary";

/** How to make an actor. */
export interface ActorSpec<M = never, R = unknown> {
  kind?: "actor";
  name: string;
  /** Places in the mailbox; default 1024. */
  mailboxSize?: number;
  restart?: RestartPolicy;
  /** How long `stop` and the message in hand may take; default 5000. */
  stopTimeoutMs?: number;
  start(context: ActorContext<M, R>): Actor<M, R> | Promise<Actor<M, R>>;
}
