import { ActorCell } from "./actor-cell.ts";
import { ActorError } from "./actor-error.ts";
import type { ActorRef, AskOptions, ExitReason } from "./actor-ref.ts";
import { systemClock, type Clock } from "./clock.ts";
import type { Health } from "./health.ts";
import type { RemoteTransport } from "./remote-transport.ts";
import { Supervisor, type SupervisorSpec } from "./supervisor.ts";

export interface ActorSystemOptions {
  clock?: Clock;
  transport?: RemoteTransport;
  /** Told of every failure, restarted or not: the place to log. */
  onFailure?(path: string, error: unknown): void;
  /** The root gave up: nothing below it runs any more. The owner decides what that means for the process. */
  onGivenUp?(error: unknown): void;
}

const remotePrefix = "actor.";

/** A running tree of actors with its registry. */
export class ActorSystem implements AsyncDisposable {
  readonly #root: Supervisor;
  readonly #places = new Map<string, ActorCell | Supervisor>();
  readonly #transport: RemoteTransport | undefined;
  readonly #unlisten: () => void;

  constructor(spec: SupervisorSpec, options: ActorSystemOptions = {}) {
    this.#transport = options.transport;
    this.#root = new Supervisor(spec.name, spec, {
      clock: options.clock ?? systemClock,
      lookup: (path) => this.lookup(path),
      watch: (ref, onEnd) => this.#watch(ref.path, onEnd),
      register: (place) => this.#places.set(place.path, place),
      unregister: (path) => this.#places.delete(path),
      onFailure: (path, error) => options.onFailure?.(path, error),
    });
    this.#places.set(this.#root.path, this.#root);
    this.#root.onExit = (root, reason) => {
      void root.stop(reason).then(() => options.onGivenUp?.(reason.kind === "failed" ? reason.error : undefined));
    };
    this.#unlisten =
      this.#transport?.listen({
        tell: (path, message) => this.#cell(path)?.tell(message as never) ?? false,
        ask: (path, message, timeoutMs) => this.lookup(path).ask(message as never, { timeoutMs }),
        watch: (path, onEnd) => this.#watch(path, onEnd),
      }) ?? (() => {});
  }

  /** Starts all actors, in order; rejects, with everything stopped again, when one cannot start. */
  start(): Promise<void> {
    return this.#root.start();
  }

  /** A reference by path. It need not exist yet: what is told to nobody is refused. */
  lookup<M, R = unknown>(path: string): ActorRef<M, R> {
    const ref: ActorRef<never> = this.#remoteRef(path) ?? this.#localRef(path);
    return ref as ActorRef<M, R>;
  }

  /** The supervisor at `path`, to add children to. */
  supervisor(path: string): Supervisor {
    const place = this.#places.get(path);
    if (!(place instanceof Supervisor)) throw new ActorError("NOT_FOUND", path);
    return place;
  }

  /** The health of the whole tree. */
  health(): Health {
    return this.#root.health();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#unlisten();
    await this.#root.stop();
  }

  #cell(path: string): ActorCell | undefined {
    const place = this.#places.get(path);
    return place instanceof ActorCell ? place : undefined;
  }

  /** Resolved at each use: a restarted supervisor makes new cells for the same paths. */
  #localRef(path: string): ActorRef<never> {
    const gone = (): Promise<never> => Promise.reject(new ActorError("NOT_FOUND", path));
    return {
      path,
      tell: (message) => this.#cell(path)?.tell(message) ?? false,
      send: (message) => this.#cell(path)?.send(message) ?? gone(),
      ask: (message, options) => this.#cell(path)?.ask(message, options) ?? gone(),
    };
  }

  #remoteRef(path: string): ActorRef<never> | undefined {
    const address = parseRemote(path);
    if (address === undefined) return undefined;
    if (address.node === this.#transport?.node) return this.lookup(address.path);
    const transport = this.#transport;
    if (transport === undefined) throw new ActorError("NOT_FOUND", path);
    const { node, path: there } = address;
    return {
      path,
      tell: (message) => transport.tell(node, there, message),
      send: async (message) => {
        if (!transport.tell(node, there, message)) throw new ActorError("MAILBOX_FULL", path);
      },
      ask: (message, options: AskOptions) => transport.ask(node, there, message, options.timeoutMs),
    };
  }

  #watch(path: string, onEnd: (reason: ExitReason) => void): () => void {
    const address = parseRemote(path);
    if (address !== undefined && this.#transport !== undefined && address.node !== this.#transport.node) {
      return this.#transport.watch(address.node, address.path, onEnd);
    }
    const cell = this.#cell(address?.path ?? path);
    if (cell?.alive === true) return cell.onEnd(onEnd);
    onEnd({ kind: "stopped" });
    return () => {};
  }
}

function parseRemote(path: string): { node: string; path: string } | undefined {
  if (!path.startsWith(remotePrefix)) return undefined;
  const dot = path.indexOf(".", remotePrefix.length);
  if (dot < 0) return undefined;
  return { node: path.slice(remotePrefix.length, dot), path: path.slice(dot + 1) };
}
