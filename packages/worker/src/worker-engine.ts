import type { Bus, Delivery } from "@millrace/bus";
import { deriveJobId, idBeforeOwner, isJobId, isJobType } from "@millrace/protocol";
import { CrashWatch } from "./crash-watch.ts";
import type { SecretVault } from "./host-services/secret-vault.ts";
import { Intake, type Lane } from "./intake.ts";
import { JobEndings } from "./job-endings.ts";
import { progressEvent, startedEvent } from "./job-events.ts";
import { JobHeap } from "./job-heap.ts";
import { Job } from "./job.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { NativeSlots } from "./native-slots.ts";
import { Outcome } from "./outcome.ts";
import { PluginRuntime } from "./plugins/plugin-runtime.ts";
import { Settler } from "./settler.ts";
import { WaitingRoom } from "./waiting-room.ts";
import type { WorkerSettings } from "./worker-options.ts";
import type { WorkerTelemetry } from "./worker-telemetry.ts";

/** Work that is pulled ahead of free slots, so that tiny jobs flow in large batches and long ones are not hoarded. */
const overcommitMs = 20;
const mostOvercommit = 2000;
const mostParked = 1000;
/** A parked job goes back after so long, doubled each time, so that another worker with its handler may get it. */
const parkedBaseMs = 1000;
const mostParkedMs = 20_000;
const parkedOverflowMs = 30_000;
/** A run-at this near is not worth a wait. */
const runAtSlackMs = 5;

/** Why jobs are not started, when they are not. */
export type WorkerMode = "running" | "draining" | "stopped";

/** The parts of a worker, wired together. The supervision tree starts and stops them; the jobs in hand live here. */
export class WorkerEngine {
  readonly settings: WorkerSettings;
  readonly bus: Bus;
  readonly leases: LeaseKeeper;
  readonly settler: Settler;
  readonly endings: JobEndings;
  readonly intake: Intake;
  readonly native: NativeSlots;
  readonly plugins: PluginRuntime;
  readonly parked = new WaitingRoom(mostParked);
  readonly marks = new Set<string>();
  readonly pausedQueues = new Set<string>();
  mode: WorkerMode = "running";
  /** Jobs settled since the start. */
  settled = 0;
  readonly telemetry: WorkerTelemetry;
  readonly #crashes: CrashWatch;
  readonly #streamCreatedMs: ReadonlyMap<string, number>;
  readonly #nativeHeap: JobHeap<Job>;
  readonly #pluginHeap: JobHeap<Job>;
  #pumping = false;
  #idleWaiters: (() => void)[] = [];

  constructor(
    settings: WorkerSettings,
    bus: Bus,
    streamCreatedMs: ReadonlyMap<string, number>,
    telemetry: WorkerTelemetry,
    secrets: SecretVault,
  ) {
    this.settings = settings;
    this.bus = bus;
    this.telemetry = telemetry;
    this.#streamCreatedMs = streamCreatedMs;
    this.#crashes = new CrashWatch({
      bus,
      crashLimit: settings.crashLimit,
      onTrouble: (error) => telemetry.trouble("a crash count cannot be kept", error),
    });
    this.#nativeHeap = new JobHeap<Job>(settings.floors);
    this.#pluginHeap = new JobHeap<Job>(settings.floors);
    const admit = (job: Job): boolean => this.#admit(job);
    const onOutcome = (job: Job, outcome: Outcome, runUs: number): void => this.#conclude(job, outcome, runUs);
    const onBegun = (job: Job): void => this.settler.started(job);
    const onRoom = (): void => this.#pump();
    const onUnroutable = (job: Job): void => this.#route(job);
    this.leases = new LeaseKeeper(bus, settings.ackWaitMs, (job) => this.#lost(job));
    this.settler = new Settler({
      bus,
      source: settings.id,
      idle: () => this.#nativeHeap.size === 0 && (this.#pluginHeap.size === 0 || this.plugins.pool.isHeld),
      startedEvent,
      onSettled: (job) => this.#settled(job),
      onTrouble: (error) => telemetry.trouble("events cannot be stored; trying again", error),
    });
    this.endings = new JobEndings({
      bus,
      settler: this.settler,
      maxResultBytes: settings.maxResultBytes,
      isCancelled: (job) => this.#isCancelled(job),
      onEnd: (job, event) => telemetry.ended(job, event),
      onTrouble: (error) => telemetry.trouble("a retry cannot be published; trying again", error),
    });
    this.native = new NativeSlots({
      slots: settings.slots,
      reservedSlots: settings.reservedSlots,
      handlerTimeoutMs: settings.handlerTimeoutMs,
      heap: this.#nativeHeap,
      handler: (type) => settings.handlers[type],
      admit,
      onBegun,
      onOutcome,
      onRoom,
      onUnroutable,
    });
    this.plugins = new PluginRuntime({
      settings,
      bus,
      secrets,
      telemetry,
      heap: this.#pluginHeap,
      admit,
      onBegun,
      onProgress: (job, percent, message) => this.settler.note(progressEvent(job, percent, message)),
      onOutcome,
      onUnroutable,
      onRoutes: () => this.#unpark(),
      onRoom,
    });
    this.intake = new Intake({
      bus,
      queues: settings.queues,
      floors: settings.floors,
      credits: () => this.credits,
      criticalCredits: () =>
        Math.max(1, settings.reservedSlots) - this.#nativeHeap.sizeAt(1) - this.#pluginHeap.sizeAt(1),
      onDelivery: (delivery, lane) => this.#accept(delivery, lane),
      restore: (queue) => bus.ensureQueueConsumers(queue, { ackWaitMs: settings.ackWaitMs }),
    });
  }

  get waiting(): number {
    return this.#nativeHeap.size + this.#pluginHeap.size;
  }

  get running(): number {
    return this.native.running + this.plugins.pool.running;
  }

  /** How many more jobs may be pulled: free slots and a little more, and never more in hand than allowed. */
  get credits(): number {
    const nativeAhead = this.native.average.jobsIn(overcommitMs, this.settings.slots, 0, mostOvercommit);
    const { pool } = this.plugins;
    const pluginAhead = pool.average.jobsIn(overcommitMs, pool.size, 0, mostOvercommit);
    // What a type will be is not known before the pull, so a kind that is overfull holds back the other.
    if (this.#nativeHeap.size > nativeAhead * 2 + this.settings.slots) return 0;
    if (this.#pluginHeap.size > pluginAhead * 2 + pool.size * 2) return 0;
    const native = this.native.free + nativeAhead - this.#nativeHeap.size;
    const plugin = pool.free + pluginAhead - this.#pluginHeap.size;
    const hasNative = Object.keys(this.settings.handlers).length > 0;
    const wanted = hasNative ? Math.max(native, plugin) : this.settings.executors > 0 ? plugin : this.settings.slots;
    return Math.max(0, Math.min(wanted, this.settings.mostHeld - this.leases.size));
  }

  cancel(id: string): void {
    for (const job of this.leases.jobs()) if (job.id === id) this.#cancelJob(job);
  }

  /** Stops or goes on with the jobs of a queue; those not begun go back to the broker. */
  setPaused(queue: string, paused: boolean): void {
    if (paused === this.pausedQueues.has(queue)) return;
    if (paused) this.pausedQueues.add(queue);
    else this.pausedQueues.delete(queue);
    this.intake.pause(queue, paused);
    if (paused) this.#giveBack((job) => job.queue === queue);
  }

  /** Takes nothing new, gives back what has not begun, and waits for the rest, but not for ever. */
  async drain(): Promise<void> {
    if (this.mode === "stopped") return;
    this.mode = "draining";
    this.intake.stop();
    this.#giveBack(() => true);
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(deadline.resolve, this.settings.drainTimeoutMs);
    await Promise.race([this.#whenIdle(), deadline.promise]);
    this.native.abortAll(new Error("the worker stops"));
    await Promise.race([this.settler.flush(), deadline.promise]);
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.mode = "stopped";
    this.native.stop();
    this.parked.empty();
    this.plugins[Symbol.dispose]();
    await this.endings[Symbol.asyncDispose]();
    await this.settler[Symbol.asyncDispose]();
  }

  #accept(delivery: Delivery, lane: Lane): void {
    if (this.mode !== "running" || !this.intake.wants(lane)) {
      this.bus.nak(delivery.reply);
      return;
    }
    const rest = delivery.subject.slice(lane.prefix.length);
    const dot = rest.indexOf(".");
    const type = dot < 0 ? rest : rest.slice(0, dot);
    const named = dot < 0 ? undefined : idBeforeOwner(rest.slice(dot + 1));
    const id = named !== undefined && isJobId(named) ? named : this.#deriveId(delivery);
    const job = new Job(delivery, lane, type, id, performance.now(), this.leases.firstLeaseMs);
    job.serverId = this.bus.serverId;
    this.leases.add(job);
    if (this.settler.hasEnded(job)) return this.settler.ack(job);
    if (!isJobType(type)) return this.endings.poison(job, `"${type}" is not a job type`);
    if (named !== undefined && id !== named) return this.endings.poison(job, `"${named}" is not a job id`);
    this.#route(job);
  }

  #deriveId(delivery: Delivery): string {
    return deriveJobId(delivery.stream, this.#streamCreatedMs.get(delivery.stream) ?? 0, delivery.seq);
  }

  #route(job: Job): void {
    if (this.mode !== "running") return this.#return(job);
    job.phase = "waiting";
    const route = this.plugins.catalog.route(job);
    switch (route.kind) {
      case "native":
        this.#nativeHeap.push(job);
        return this.#pump();
      case "plugin":
        this.#pluginHeap.push(job);
        return this.#pump();
      case "gone":
        return this.endings.conclude(job, Outcome.failed(route.reason, { code: "HANDLER_GONE", retryable: false }), 0);
      case "wait":
        return this.#park(job, route.reason);
    }
  }

  /** Fills slots and threads, then the heap, once for all that happens in this turn. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    queueMicrotask(() => {
      this.#pumping = false;
      if (this.mode === "running") {
        this.native.dispatch();
        this.plugins.pool.dispatch();
        this.intake.refill();
      }
      this.#checkIdle();
    });
  }

  /** The last look at a job before it runs. */
  #admit(job: Job): boolean {
    if (job.phase === "lost") return false;
    if (job.problems !== undefined) {
      this.endings.poison(job, job.problems.map(({ field, reason }) => `${field} ${reason}`).join("; "));
      return false;
    }
    if (this.#isCancelled(job)) {
      this.endings.conclude(job, Outcome.cancelled(), 0);
      return false;
    }
    const { deadlineMs, runAtMs } = job.options;
    if (deadlineMs > 0 || runAtMs > 0) {
      const nowMs = Date.now();
      if (deadlineMs > 0 && nowMs > deadlineMs) {
        this.endings.expire(job);
        return false;
      }
      if (runAtMs > nowMs + runAtSlackMs) {
        this.endings.postpone(job, runAtMs);
        return false;
      }
    }
    if (this.#crashes.isSuspect(job)) {
      void this.#probe(job);
      return false;
    }
    return true;
  }

  async #probe(job: Job): Promise<void> {
    job.phase = "held";
    try {
      const outcome = await this.#crashes.probe(job);
      if (job.phase !== "held") return;
      if (outcome === undefined) this.#route(job);
      else this.endings.conclude(job, outcome, 0);
    } catch (error) {
      this.telemetry.trouble("a crash count cannot be kept", error);
      this.#return(job, parkedOverflowMs);
    }
  }

  #conclude(job: Job, outcome: Outcome, runUs: number): void {
    const end = (how: Outcome): void =>
      this.endings.conclude(job, job.cancelRequested && how.kind === "failed" ? Outcome.cancelled() : how, runUs);
    if (outcome.code === "CRASHED") void this.#crashes.died(job, outcome).then(end);
    else end(outcome);
  }

  #settled(job: Job): void {
    job.phase = "settled";
    this.settled++;
    this.leases.remove(job);
    this.#crashes.settled(job);
    if (this.marks.size > 0 && this.marks.has(job.id)) {
      this.marks.delete(job.id);
      void this.bus
        .kv("cancel")
        .delete(job.id)
        .catch((error: unknown) => this.telemetry.trouble("cancel mark", error));
    }
    this.#pump();
  }

  #lost(job: Job): void {
    this.telemetry.leaseLost(job);
    // An outcome that is on its way into the stream stays true, and so does its ack.
    if (job.phase === "settling") return;
    job.phase = "lost";
    this.#crashes.forget(job);
    this.parked.leave(job);
    this.endings.held.leave(job);
    this.native.forget(job);
    this.#nativeHeap.remove((other) => other === job);
    this.#pluginHeap.remove((other) => other === job);
    this.#pump();
  }

  #isCancelled(job: Job): boolean {
    return job.cancelRequested || (this.marks.size > 0 && this.marks.has(job.id));
  }

  #cancelJob(job: Job): void {
    job.cancelRequested = true;
    if (this.parked.leave(job)) return this.endings.conclude(job, Outcome.cancelled(), 0);
    if (this.endings.cancelHeld(job)) return;
    if (job.phase === "waiting") {
      this.#nativeHeap.remove((other) => other === job);
      this.#pluginHeap.remove((other) => other === job);
      this.endings.conclude(job, Outcome.cancelled(), 0);
    } else if (job.phase === "running") {
      if (this.settings.handlers[job.type] === undefined) this.plugins.pool.cancel(job);
      else this.native.cancel(job);
    }
  }

  #park(job: Job, reason: string): void {
    if (this.#isCancelled(job)) return this.endings.conclude(job, Outcome.cancelled(), 0);
    job.phase = "held";
    // Told once: later deliveries of the same wait say nothing new.
    if (job.delivery.delivered === 1) this.endings.park(job, reason);
    if (this.parked.full) return this.#return(job, parkedOverflowMs);
    const parkedMs = Math.min(mostParkedMs, parkedBaseMs * 2 ** Math.min(10, job.delivery.delivered - 1));
    this.parked.enter(job, parkedMs, () => this.#return(job));
  }

  #unpark(): void {
    for (const job of this.parked.empty()) this.#route(job);
  }

  #giveBack(match: (job: Job) => boolean): void {
    for (const job of [...this.#nativeHeap.remove(match), ...this.#pluginHeap.remove(match)]) this.#return(job);
    for (const job of this.parked.empty()) {
      if (match(job)) this.#return(job);
      else this.#route(job);
    }
  }

  /** To the broker, for whoever wants it. */
  #return(job: Job, delayMs = 0): void {
    job.phase = "lost";
    this.leases.remove(job);
    this.#crashes.forget(job);
    this.bus.nak(job.delivery.reply, delayMs);
    this.#pump();
  }

  #whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      this.#idleWaiters.push(resolve);
      this.#checkIdle();
    });
  }

  #checkIdle(): void {
    if (this.#idleWaiters.length === 0 || this.running > 0 || this.endings.open > 0 || this.leases.size > 0) return;
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}
