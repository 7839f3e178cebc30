import { ActorCell, type CellHost } from "./actor-cell.ts";
import { ActorError } from "./actor-error.ts";
import type { ActorRef, ActorSpec, ExitReason, RestartPolicy } from "./actor-ref.ts";
import type { Health } from "./health.ts";
import { defaultRestartLimits, RestartIntensity, type RestartLimits } from "./restart-intensity.ts";

/** Who is restarted with a failed child: it alone, all children, or it and those started after it. */
export type Strategy = "one_for_one" | "one_for_all" | "rest_for_one";

/** A supervision tree, as data. Children start in this order and stop in the reverse one. */
export interface SupervisorSpec {
  kind: "supervisor";
  name: string;
  strategy: Strategy;
  limits?: Partial<RestartLimits>;
  restart?: RestartPolicy;
  children: readonly ChildSpec[];
}

/** Any child. Its message type is its own affair, so `never` accepts them all. */
export type ChildSpec = ActorSpec | SupervisorSpec;

/** What a supervisor tells the outside. */
export interface SupervisorHost extends CellHost {
  /** Adds and removes places of the registry. */
  register(node: ActorCell | Supervisor): void;
  unregister(path: string): void;
  onFailure(path: string, error: unknown): void;
}

type Child = ActorCell | Supervisor;

/** Starts, watches, restarts and stops its children. Gives up, towards its parent, when restarts come too fast. */
export class Supervisor {
  readonly path: string;
  readonly name: string;
  readonly spec: SupervisorSpec;
  incarnation = 0;
  restarts = 0;
  onExit: (supervisor: Supervisor, reason: ExitReason, incarnation: number) => void = () => {};
  #host: SupervisorHost;
  #children: Child[] = [];
  #intensity: RestartIntensity;
  #state: "running" | "restarting" | "stopped" = "stopped";
  /** Repairs of a group run one after another; those of `one_for_one` run beside each other. */
  #repairs: Promise<void> = Promise.resolve();
  #wakeups = new Set<() => void>();

  constructor(path: string, spec: SupervisorSpec, host: SupervisorHost) {
    this.path = path;
    this.name = spec.name;
    this.spec = spec;
    this.#host = host;
    this.#intensity = new RestartIntensity({ ...defaultRestartLimits, ...spec.limits }, host.clock);
  }

  async start(): Promise<void> {
    this.incarnation++;
    this.#state = "running";
    this.#intensity = new RestartIntensity({ ...defaultRestartLimits, ...this.spec.limits }, this.#host.clock);
    try {
      for (const spec of this.spec.children) await this.#startChild(spec);
    } catch (error) {
      await this.stop({ kind: "failed", error });
      throw error;
    }
  }

  /** Adds a child while running; it is stopped before those that were there already. */
  async spawn<M, R>(spec: ActorSpec<M, R>): Promise<ActorRef<M, R>> {
    if (this.#state !== "running") throw new ActorError("STOPPED", this.path);
    return (await this.#startChild(spec as unknown as ActorSpec)) as unknown as ActorRef<M, R>;
  }

  async stopChild(name: string): Promise<void> {
    const child = this.#children.find((c) => c.name === name);
    if (child === undefined) return;
    this.#forget(child);
    await child.stop();
  }

  async stop(reason: ExitReason = { kind: "stopped" }, _keepMailbox = false): Promise<void> {
    if (this.#state === "stopped") return;
    this.#state = "stopped";
    for (const wake of this.#wakeups) wake();
    await this.#repairs;
    for (const child of [...this.#children].reverse()) {
      await child.stop(reason);
      this.#host.unregister(child.path);
    }
    this.#children = [];
  }

  expectRestart(): void {
    this.restarts++;
  }

  health(): Health {
    const children = this.#children.map((child) => child.health());
    return {
      path: this.path,
      state: this.#state,
      ok: this.#state === "running" && children.every((child) => child.ok),
      restarts: this.restarts,
      mailbox: 0,
      children,
    };
  }

  async #startChild(spec: ChildSpec): Promise<Child> {
    if (this.#children.some((c) => c.name === spec.name))
      throw new ActorError("DUPLICATE", `${this.path}/${spec.name}`);
    const path = `${this.path}/${spec.name}`;
    const child =
      spec.kind === "supervisor" ? new Supervisor(path, spec, this.#host) : new ActorCell(path, spec, this.#host);
    child.onExit = (_self: Child, reason: ExitReason, incarnation: number) =>
      this.#childExited(child, reason, incarnation);
    this.#children.push(child);
    this.#host.register(child);
    try {
      await child.start();
    } catch (error) {
      this.#forget(child);
      throw error;
    }
    return child;
  }

  #childExited(child: Child, reason: ExitReason, incarnation: number): void {
    if (this.#state !== "running") return;
    if (reason.kind === "failed") this.#host.onFailure(child.path, reason.error);
    const repair = async (): Promise<void> => this.#repair(child, reason, incarnation);
    if (this.spec.strategy === "one_for_one") {
      this.#repairs = Promise.all([this.#repairs, repair()]).then(() => {});
    } else {
      this.#repairs = this.#repairs.then(repair);
    }
  }

  async #repair(child: Child, reason: ExitReason, incarnation: number): Promise<void> {
    // A sibling's failure may have restarted this child already: then the news is old.
    if (this.#state !== "running" || child.incarnation !== incarnation || !this.#children.includes(child)) return;
    const policy = child.spec.restart ?? "permanent";
    if (policy === "temporary" || (policy === "transient" && reason.kind === "stopped")) {
      this.#forget(child);
      await child.stop(reason);
      return;
    }
    let failed = child;
    let cause = reason;
    for (;;) {
      const delayMs = this.#intensity.record();
      if (delayMs === undefined) return this.#giveUp(cause);
      const affected = this.#affectedBy(failed);
      for (const c of [...affected].reverse()) {
        await c.stop(cause, true);
        c.expectRestart();
      }
      await this.#pause(delayMs);
      if (this.#stopped()) return;
      const bad = await this.#startAll(affected);
      if (bad === undefined) return;
      failed = bad.child;
      cause = { kind: "failed", error: bad.error };
      this.#host.onFailure(failed.path, bad.error);
    }
  }

  async #startAll(children: readonly Child[]): Promise<{ child: Child; error: unknown } | undefined> {
    for (const child of children) {
      if (this.#stopped()) return undefined;
      try {
        await child.start();
      } catch (error) {
        return { child, error };
      }
    }
    return undefined;
  }

  #stopped(): boolean {
    return this.#state !== "running";
  }

  #affectedBy(child: Child): Child[] {
    if (this.spec.strategy === "one_for_one") return [child];
    if (this.spec.strategy === "one_for_all") return [...this.#children];
    return this.#children.slice(this.#children.indexOf(child));
  }

  #giveUp(reason: ExitReason): void {
    this.#state = "restarting";
    const error = new ActorError("TOO_MANY_RESTARTS", this.path, {
      cause: reason.kind === "failed" ? reason.error : undefined,
    });
    // Not awaited: the parent stops this supervisor, which waits for the repair this call is part of.
    this.onExit(this, { kind: "failed", error }, this.incarnation);
  }

  #forget(child: Child): void {
    this.#children = this.#children.filter((c) => c !== child);
    this.#host.unregister(child.path);
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        cancel();
        this.#wakeups.delete(done);
        resolve();
      };
      const cancel = this.#host.clock.after(ms, done);
      this.#wakeups.add(done);
    });
  }
}
