import type { Bus } from "@millrace/bus";
import type { CallResult } from "@millrace/plugin-host";
import { ExecutorPool } from "../executors/executor-pool.ts";
import { PluginCall } from "../executors/plugin-call.ts";
import { HostServices } from "../host-services/host-services.ts";
import type { SecretVault } from "../host-services/secret-vault.ts";
import type { JobHeap } from "../job-heap.ts";
import type { Job } from "../job.ts";
import { Outcome } from "../outcome.ts";
import type { WorkerSettings } from "../worker-options.ts";
import type { WorkerTelemetry } from "../worker-telemetry.ts";
import { FailureRecorder } from "./failure-recorder.ts";
import { PluginCatalog } from "./plugin-catalog.ts";
import { PluginReports } from "./plugin-reports.ts";
import { TrustedKeys } from "./trusted-keys.ts";

export interface PluginRuntimeOptions {
  readonly settings: WorkerSettings;
  readonly bus: Bus;
  readonly secrets: SecretVault;
  readonly telemetry: WorkerTelemetry;
  readonly heap: JobHeap<Job>;
  /** Checks a job just before it is sent; false when it was dealt with otherwise. */
  admit(job: Job): boolean;
  /** A job has been running for a while. */
  onBegun(job: Job): void;
  onProgress(job: Job, percent: number, message: string): void;
  /** Exactly once for each job that began and was not put back. */
  onOutcome(job: Job, outcome: Outcome, runUs: number): void;
  /** The job's route has changed while it waited, or its plugin does not load: it has to find another, or wait. */
  onUnroutable(job: Job): void;
  /** Routes have changed. */
  onRoutes(): void;
  /** Room has come free. */
  onRoom(): void;
}

/** All that runs plugins: which versions there are, what executes them, what they may ask, and what is told of them. */
export class PluginRuntime implements Disposable {
  readonly keys: TrustedKeys;
  readonly catalog: PluginCatalog;
  readonly pool: ExecutorPool;
  readonly #options: PluginRuntimeOptions;
  readonly #reports: PluginReports;
  readonly #recorder: FailureRecorder;

  constructor(options: PluginRuntimeOptions) {
    const { settings, bus, secrets, telemetry } = options;
    this.#options = options;
    this.keys = new TrustedKeys(bus, settings.pluginSignatures);
    this.catalog = new PluginCatalog({
      bus,
      handlers: settings.handlers,
      runsPlugins: settings.executors > 0,
      keys: this.keys,
      mostMemoryPages: settings.pluginMemoryPages,
      prepare: (version) => this.pool.prepare(version),
      onChange: () => queueMicrotask(() => this.#routesChanged()),
      onTrouble: (plugin, error) => telemetry.trouble(`plugin ${plugin} cannot be taken in`, error),
    });
    const services = new HostServices({
      bus,
      secrets,
      httpPrivate: settings.pluginHttpPrivate,
      nameServers: settings.pluginNameServers,
      onAnswer: (name, outcome) => telemetry.hostCall(name, outcome),
    });
    this.pool = new ExecutorPool({
      executors: settings.executors,
      kind: settings.executorKind,
      catalog: this.catalog,
      heap: options.heap,
      prepare: (job) => this.#prepare(job),
      onBegun: options.onBegun,
      onResult: (call, result) => this.#ended(call, result),
      onUnroutable: options.onUnroutable,
      onAsk: (call, ask) => services.answer(call.caller(options.onProgress), ask),
      onKill: () => telemetry.executorKilled(),
      onRoom: options.onRoom,
    });
    this.#reports = new PluginReports(bus, (text) => secrets.redact(text));
    this.#recorder = new FailureRecorder(bus, (error) => telemetry.trouble("a failed call cannot be recorded", error));
  }

  [Symbol.dispose](): void {
    this.#reports[Symbol.dispose]();
  }

  #routesChanged(): void {
    this.pool.unloadOld();
    this.#options.onRoutes();
  }

  #prepare(job: Job): PluginCall | undefined {
    const route = this.catalog.route(job);
    if (route.kind !== "plugin") {
      this.#options.onUnroutable(job);
      return undefined;
    }
    if (!this.#options.admit(job)) return undefined;
    const { version, exportName } = route;
    const own = version.timeoutMs;
    const timeoutMs = job.options.timeoutMs === 0 ? own : Math.min(own, job.options.timeoutMs);
    job.phase = "running";
    job.startedAtMs = job.clock.nowMs();
    job.startedMs = performance.now();
    return new PluginCall(version, exportName, timeoutMs, job);
  }

  #ended(call: PluginCall, raw: CallResult): void {
    const { version, job, invocation } = call;
    const result = raw.ok ? raw : { ...raw, message: this.#options.secrets.redact(raw.message) };
    const logs = this.#reports.ended(call, result);
    this.#options.telemetry.pluginCall(version, job, result, logs);
    this.#recorder.ended(call, result);
    if (job === undefined) return invocation?.onResult({ ...result, logs });
    // It was sent earlier than it began.
    job.startedAtMs = Math.max(job.startedAtMs, job.clock.nowMs() - result.durationUs / 1000);
    job.plugin = version.label;
    job.fuel = result.fuel;
    const outcome = result.ok ? Outcome.succeeded(result.output) : Outcome.failed(result.message, result);
    this.#options.onOutcome(job, outcome, result.durationUs);
  }
}
