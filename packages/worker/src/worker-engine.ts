import { BusError, type Bus, type Delivery, type QueueConsumerOptions } from "@millrace/bus";
import { defaultJobOptions, headerNames, maxMove, maxRun } from "@millrace/protocol";
import { within } from "@millrace/service-kit";
import { CancelMarks } from "./cancel-marks.ts";
import { CrashWatch } from "./crash-watch.ts";
import type { SecretVault } from "./host-services/secret-vault.ts";
import { HeardPlaces } from "./heard-places.ts";
import { Intake, type Lane } from "./intake.ts";
import { JobEndings, longestHeldMs } from "./job-endings.ts";
import { progressEvent, startedEvent } from "./job-events.ts";
import { JobHeap } from "./job-heap.ts";
import { Job } from "./job.ts";
import type { Standing } from "./judge-standing.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import { Lookups } from "./lookups.ts";
import { NativeSlots } from "./native-slots.ts";
import { Outcome } from "./outcome.ts";
import { PluginRuntime } from "./plugins/plugin-runtime.ts";
import { readJobName } from "./read-job-name.ts";
import { RepeatBounds } from "./repeat-bounds.ts";
import { Settler } from "./settler.ts";
import { SleepingQueues } from "./sleeping-queues.ts";
import { UnknownFormats } from "./unknown-formats.ts";
import { WaitingRoom } from "./waiting-room.ts";
import type { WorkerSettings } from "./worker-options.ts";
import type { WorkerTelemetry } from "./worker-telemetry.ts";

/** Work that is pulled ahead of free slots, so that tiny jobs flow in large batches and long ones are not hoarded. */
const ensureAgainMs = 2000;
const overcommitMs = 20;
const mostOvercommit = 2000;
const mostParked = 1000;
const mostPostponed = 1000;
/** A parked job goes back after so long, doubled each time, so that another worker with its handler may get it. */
const parkedBaseMs = 1000;
const mostParkedMs = 20_000;
const parkedOverflowMs = 30_000;
/** A run-at this near is not worth a wait. */
const runAtSlackMs = 5;
/** A message of an unknown format may be for a newer worker. */
const unknownFormatMs = 5000;
/** Of the time to drain, what is kept for storing the last events, and at most so much. */
const lastFlushShare = 0.2;
const mostLastFlushMs = 3000;

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
  readonly lookups: Lookups;
  readonly repeats: RepeatBounds;
  readonly parked = new WaitingRoom(mostParked);
  /** Jobs whose time comes soon. */
  readonly postponed = new WaitingRoom(mostPostponed);
  readonly marks = new CancelMarks();
  readonly unknownFormats = new UnknownFormats();
  readonly pausedQueues = new Set<string>();
  mode: WorkerMode = "running";
  /** Jobs settled since the start. */
  settled = 0;
  readonly telemetry: WorkerTelemetry;
  readonly #crashes: CrashWatch;
  readonly #nativeHeap: JobHeap<Job>;
  readonly #pluginHeap: JobHeap<Job>;
  /** Their leases are lost, and their outcomes on the way all the same. */
  readonly #outrun = new Set<Job>();
  readonly #heard = new HeardPlaces();
  readonly #restoring = new Map<string, Promise<void>>();
  readonly #finding = new Map<Lane, Promise<void>>();
  readonly #ensuring = new Set<NodeJS.Timeout>();
  #pumping = false;
  #idleWaiters: (() => void)[] = [];

  constructor(settings: WorkerSettings, bus: Bus, telemetry: WorkerTelemetry, secrets: SecretVault) {
    this.settings = settings;
    this.bus = bus;
    this.telemetry = telemetry;
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
      isCancelled: (job) => job.cancelRequested || this.marks.cancels(job),
      isBarred: (job) => this.marks.bars(job),
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
      restore: (lane) => this.#restore(lane),
    });
    this.repeats = new RepeatBounds({
      bus,
      lanes: this.intake.lanes,
      lanesOf: (queue) => this.intake.lanesOf(queue),
      onTrouble: (error) => telemetry.trouble("the end of a log is not known; looking up all it delivers", error),
    });
    this.lookups = new Lookups({
      bus,
      onStanding: (job, standing) => this.#standing(job, standing),
      onTrouble: (error) => telemetry.trouble("a look-up failed", error),
    });
  }

  /** Begins to pull; with very many queues, those that something comes for. */
  async take(): Promise<AsyncDisposable> {
    await using stack = new AsyncDisposableStack();
    const { bus, intake } = this;
    const { queues, mostAwakeQueues, queueIdleMs: idleMs } = this.settings;
    if (queues.length <= mostAwakeQueues) {
      await Promise.all(
        queues.map((queue) => this.ensureConsumers(queue).catch((error) => this.#ensureLater(queue, error))),
      );
    } else {
      const ensure = (lane: Lane): Promise<void> => this.#ensureLane(lane);
      const onTrouble = (error: unknown): void =>
        this.telemetry.trouble("a queue cannot be woken; trying again", error);
      const sleeping = stack.use(new SleepingQueues({ bus, intake, idleMs, ensure, onTrouble }));
      await sleeping.start();
    }
    stack.use(intake.start());
    return stack.move();
  }

  /** One queue whose consumers the broker cannot tell of, as after a cluster has lost servers, keeps no other from being served. */
  #ensureLater(queue: string, error: unknown): void {
    if (!(error instanceof BusError) || (error.code !== "unavailable" && error.code !== "deadline_exceeded"))
      throw error;
    this.telemetry.trouble(`the consumers of queue ${queue} cannot be made sure of; trying again`, error);
    const timer = setTimeout(
      () => {
        this.#ensuring.delete(timer);
        if (this.mode !== "running") return;
        this.ensureConsumers(queue)
          .then(() => this.intake.refill())
          .catch((again: unknown) => this.#ensureLater(queue, again))
          .catch((fatal: unknown) => this.telemetry.trouble(`queue ${queue} is not served`, fatal));
      },
      ensureAgainMs * (0.5 + Math.random()),
    );
    this.#ensuring.add(timer);
  }

  /** By itself: consumers of a cluster are led by different servers, and one that has no leader yet keeps none of the others. */
  async #restore(lane: Lane): Promise<void> {
    const running = this.#finding.get(lane) ?? this.#find(lane).finally(() => this.#finding.delete(lane));
    this.#finding.set(lane, running);
    return running;
  }

  async #find(lane: Lane): Promise<void> {
    const found = await this.bus.findQueueConsumer(lane.queue, lane.level);
    if (found === undefined) await this.#ensureAwake(lane.queue);
    else this.repeats.learn(lane.queue, [found]);
  }

  /** Makes sure of the consumers of a queue, once for all who ask at the same time. */
  ensureConsumers(queue: string): Promise<void> {
    return this.#ensure(queue, queue, {});
  }

  /** Makes sure of the consumer of a queue at one level. */
  #ensureLane({ queue, level }: Lane): Promise<void> {
    return this.#ensure(`${queue}.${level}`, queue, { levels: [level] });
  }

  /** Of those that are pulled: others may have none. */
  async #ensureAwake(queue: string): Promise<void> {
    const awake = this.intake.lanesOf(queue).filter((lane) => !lane.asleep);
    if (awake.length === 0) return;
    return this.#ensure(queue, queue, { levels: awake.map(({ level }) => level) });
  }

  #ensure(key: string, queue: string, which: Pick<QueueConsumerOptions, "levels">): Promise<void> {
    const { ackWaitMs } = this.settings;
    const running =
      this.#restoring.get(key) ??
      this.bus
        .ensureQueueConsumers(queue, { ackWaitMs, ...which })
        .then((consumers) => this.repeats.learn(queue, consumers))
        .finally(() => this.#restoring.delete(key));
    this.#restoring.set(key, running);
    return running;
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
    const { allowance, size } = this.lookups;
    return Math.max(0, Math.min(wanted + allowance - size, this.settings.mostHeld - this.leases.size));
  }

  /** Ends runs of a job up to this one, as far as they are in hand. */
  cancel(id: string, run = maxRun): void {
    // A copy: who is cancelled may leave.
    const meant = [...this.leases.jobs()].filter((job) => job.id === id && job.options.run <= run);
    for (const job of meant) this.#cancelJob(job);
  }

  /** Lets go of messages that are barred and have not begun. */
  dropBarred(): void {
    const barred = [...this.leases.jobs()].filter((job) => this.marks.bars(job) && !job.hasBegun);
    for (const job of barred) if (this.#takeOut(job)) this.settler.ack(job);
  }

  /** Those of the ids that are in hand, from pull to ack. */
  holds(ids: readonly string[]): string[] {
    const asked = new Set(ids);
    const held = new Set<string>();
    for (const job of this.leases.jobs()) if (asked.has(job.id)) held.add(job.id);
    for (const job of this.#outrun) if (asked.has(job.id)) held.add(job.id);
    return [...held];
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
    const { drainTimeoutMs } = this.settings;
    const lastFlushMs = Math.min(mostLastFlushMs, drainTimeoutMs * lastFlushShare);
    await within(drainTimeoutMs - lastFlushMs, this.#whenIdle());
    this.native.abortAll(new Error("the worker stops"));
    await within(lastFlushMs, this.settler.flush());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.mode = "stopped";
    for (const timer of this.#ensuring) clearTimeout(timer);
    this.native.stop();
    this.parked.empty();
    this.postponed.empty();
    this.lookups[Symbol.dispose]();
    this.repeats[Symbol.dispose]();
    this.plugins[Symbol.dispose]();
    // What is not stored after the drain runs again elsewhere: a stop does not wait for it as long as a publish may take.
    const stopped = Promise.all([this.endings[Symbol.asyncDispose](), this.settler[Symbol.asyncDispose]()]);
    await within(mostLastFlushMs, stopped);
  }

  #accept(delivery: Delivery, lane: Lane): void {
    if (this.mode !== "running" || !this.intake.wants(lane)) {
      this.bus.nak(delivery.reply);
      return;
    }
    const format = delivery.header(headerNames.format);
    if (format !== undefined && format !== "") return this.#leave(delivery, lane, format);
    const name = readJobName(delivery, lane);
    const nowMs = performance.now();
    lane.activeMs = nowMs;
    const job = new Job(delivery, lane, name, this.bus.clock, nowMs, this.leases.firstLeaseMs);
    job.serverId = this.bus.serverId;
    const isRepeat = this.repeats.isRepeat(delivery, lane);
    if (isRepeat && this.leases.adopt(job)) return;
    this.leases.add(job);
    if (this.settler.hasEnded(job)) return this.settler.ack(job);
    if (name.problem !== undefined) return this.endings.poison(job, name.problem);
    if (isRepeat || this.#heard.isPassed(job)) {
      job.phase = "held";
      return this.lookups.add(job);
    }
    this.lookups.stopAhead();
    this.#route(job);
  }

  /** Not ours to read: neither run nor acked, so that who knows the format gets it. */
  #leave(delivery: Delivery, lane: Lane, format: string): void {
    this.bus.nak(delivery.reply, unknownFormatMs);
    this.telemetry.unknownFormat(lane.queue, format, this.unknownFormats.count(format));
  }

  #standing(job: Job, standing: Standing): void {
    if (job.phase !== "held") return;
    if (standing === "due") this.#route(job);
    else this.settler.ack(job);
  }

  #route(job: Job): void {
    if (this.mode !== "running" || this.pausedQueues.has(job.queue)) return this.#return(job);
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
    if (this.#isOver(job)) return false;
    // Most jobs ask for nothing, and come once.
    if (job.options !== defaultJobOptions) this.#heard.note(job);
    const { deadlineMs, runAtMs } = job.options;
    if (deadlineMs > 0 || runAtMs > 0) {
      const nowMs = job.clock.nowMs();
      if (deadlineMs > 0 && nowMs > deadlineMs) {
        this.endings.expire(job);
        return false;
      }
      if (runAtMs > nowMs + runAtSlackMs && job.options.move < maxMove) {
        this.#postpone(job, runAtMs, runAtMs - nowMs);
        return false;
      }
    }
    if (this.#crashes.isSuspect(job)) {
      void this.#probe(job);
      return false;
    }
    return true;
  }

  /** What is due soon waits here, with its lease kept; the rest is the scheduler's. */
  #postpone(job: Job, runAtMs: number, waitMs: number): void {
    if (waitMs > longestHeldMs || this.postponed.full) return this.endings.postpone(job, runAtMs);
    job.phase = "held";
    this.postponed.enter(job, waitMs, () => this.#route(job));
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
    this.#outrun.delete(job);
    this.#crashes.settled(job);
    this.#pump();
  }

  #lost(job: Job): void {
    this.telemetry.leaseLost(job);
    // An outcome that is on its way into the stream stays true, and so does its ack.
    if (job.phase === "settling") {
      this.#outrun.add(job);
      return;
    }
    this.#takeOut(job);
    this.endings.held.leave(job);
    this.native.forget(job);
    job.phase = "lost";
    this.#crashes.forget(job);
    this.#pump();
  }

  /** Deals with a job that is cancelled, or a message that is barred. @returns whether it did */
  #isOver(job: Job): boolean {
    // Whoever cancelled it while it was in hand and could not be let go heard that this worker has it, and leaves the end to it.
    if (job.cancelRequested) this.endings.conclude(job, Outcome.cancelled(), 0);
    else if (this.marks.cancels(job)) this.#endCancelled(job);
    else if (this.marks.bars(job) && !job.hasBegun) this.settler.ack(job);
    else return false;
    return true;
  }

  #cancelJob(job: Job): void {
    job.cancelRequested = true;
    if (job.phase === "running") {
      if (this.settings.handlers[job.type] === undefined) this.plugins.pool.cancel(job);
      else this.native.cancel(job);
    } else if (this.#takeOut(job)) this.#endCancelled(job);
    else this.endings.cancelHeld(job);
  }

  /**
   * What has not begun is acked without an event: who set the mark asks the workers, and stores the end when nobody has the job. So
   * this comes before the answer that this worker does not have it.
   */
  #endCancelled(job: Job): void {
    if (job.hasBegun) return this.endings.conclude(job, Outcome.cancelled(), 0);
    this.endings.tellCancelled(job);
    this.settler.ack(job);
  }

  /** Takes a job from where it waits to begin. @returns whether it did */
  #takeOut(job: Job): boolean {
    if (this.parked.leave(job) || this.postponed.leave(job) || this.lookups.leave(job)) return true;
    if (job.phase !== "waiting") return false;
    const isThis = (other: Job): boolean => other === job;
    return this.#nativeHeap.remove(isThis).length + this.#pluginHeap.remove(isThis).length > 0;
  }

  #park(job: Job, reason: string): void {
    if (this.#isOver(job)) return;
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
    for (const job of this.lookups.remove(match)) this.#return(job);
    for (const room of [this.parked, this.postponed]) {
      for (const job of room.jobs().filter(match)) if (room.leave(job)) this.#return(job);
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
