import { randomUUID } from "node:crypto";
import type { Bus } from "@millrace/bus";
import {
  AuditRuntimeService,
  AuditService,
  EventService,
  JobService,
  PluginRuntimeService,
  PluginService,
  SettingsRuntimeService,
  SettingsService,
  SystemService,
} from "@millrace/protocol";
import { bindService, type ServiceBinding } from "@millrace/rpc";
import {
  LiveConfig,
  loadConfig,
  runtimeSettings,
  z,
  type Health,
  type Logger,
  type Metrics,
} from "@millrace/service-kit";
import type { Store } from "@millrace/store";
import { CrashSweep } from "./crash-sweep.ts";
import { announceTakenBack } from "./announce-taken-back.ts";
import { AuditAnnouncer } from "./audit-announcer.ts";
import { AuditPruner } from "./audit-pruner.ts";
import { auditRuntimeService } from "./audit-runtime-service.ts";
import { auditService } from "./audit-service.ts";
import { CanaryWatch } from "./canary-watch.ts";
import { CancelMarks } from "./cancel-marks.ts";
import { defaultControlConfig, type ControlConfig, type ControlSettings } from "./config.ts";
import type { ControlContext } from "./control-context.ts";
import { DryRunner } from "./dry-runner.ts";
import { EventDecoder } from "./event-decoder.ts";
import { eventService } from "./event-service.ts";
import { EventsPressure } from "./events-pressure.ts";
import { EventSource } from "./event-source.ts";
import { EventTail } from "./event-tail.ts";
import { ControlEvents } from "./events.ts";
import { describeProcess } from "./get-info.ts";
import { jobService } from "./job-service.ts";
import { HookRunner } from "./hook-runner.ts";
import { ModuleInspector } from "./module-inspector.ts";
import { OwnerQuotas } from "./owner-quotas.ts";
import { PluginKeys } from "./plugin-keys.ts";
import { PluginLifecycle } from "./plugin-lifecycle.ts";
import { PluginRegistry } from "./plugin-registry.ts";
import { pluginRuntimeService } from "./plugin-runtime-service.ts";
import { pluginService } from "./plugin-service.ts";
import { QueueSettingsMap } from "./queue-settings-map.ts";
import { countPending } from "./count-pending.ts";
import { RecentJobs } from "./recent-jobs.ts";
import { ResultInbox } from "./result-inbox.ts";
import { SettingsMirror } from "./settings-mirror.ts";
import { settingsRuntimeService } from "./settings-runtime-service.ts";
import { settingsService } from "./settings-service.ts";
import { TakenIds } from "./taken-ids.ts";
import { TypeClaims } from "./type-claims.ts";
import { UniqueKeys } from "./unique-keys.ts";

export interface ControlDeps {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly health: Health;
  /** Everything that is set in this process; what may be changed while it runs, at its defaults, when left out. */
  readonly live?: LiveConfig & { readonly values: ControlSettings };
}

export interface Control extends AsyncDisposable {
  /** For `createPipeline`. */
  readonly services: readonly ServiceBinding[];
}

const changeable = z.object(runtimeSettings);

/** Accepts, reads, steers and watches jobs, and keeps plugins, the audit trail and settings. The streams and buckets must be there. */
export async function startControl(config: Partial<ControlConfig>, deps: ControlDeps): Promise<Control> {
  const { bus, store, logger, metrics, health } = deps;
  const all: ControlConfig = { ...defaultControlConfig, ...config };
  const node = `control-${randomUUID().slice(0, 8)}`;
  await using starting = new AsyncDisposableStack();
  const decoder = new EventDecoder(bus);
  const tail = new EventTail(bus, decoder, all.tailMessages);
  const events = new ControlEvents(logger, metrics);
  const plugins = new PluginRegistry(bus);
  const keys = new PluginKeys(bus, all.pluginSignatures);
  const inspector = starting.use(new ModuleInspector());
  const hooks = new HookRunner(bus, inspector, all.hookTimeoutMs);
  const pressure = starting.use(new EventsPressure(bus));
  const live = deps.live ?? new LiveConfig(changeable, loadConfig(changeable));
  const { workerPatienceMs, takeOverMs } = all;
  const recent = new RecentJobs(all.recentJobs, all.recentBytes);
  const context: ControlContext = {
    config: all,
    node,
    bus,
    store,
    logger,
    events,
    pressure,
    recent,
    takenIds: new TakenIds(store, recent, bus.logger),
    quotas: new OwnerQuotas({
      bus,
      store,
      cursor: all.projectionCursor,
      limits: live.values,
      onRefused: () => events.quotaReached(),
    }),
    inbox: starting.use(new ResultInbox(bus, all.maxWaiters)),
    uniqueKeys: new UniqueKeys(bus, store, all.lostKeyMs),
    cancelMarks: starting.use(new CancelMarks(bus, store, all.markSweepMs)),
    queueSettings: starting.use(new QueueSettingsMap(bus)),
    eventSource: starting.use(
      new EventSource(bus, decoder, tail, { backlog: all.watcherBacklog, maxReplays: all.maxReplays }),
    ),
    plugins,
    typeClaims: new TypeClaims(bus, plugins),
    keys,
    inspector,
    hooks,
    lifecycle: starting.use(new PluginLifecycle({ bus, plugins, hooks, keys, events, workerPatienceMs, takeOverMs })),
    dryRunner: starting.use(new DryRunner(all.maxDryRuns)),
    announcer: starting.use(new AuditAnnouncer({ bus, store, pressure })),
    settings: starting.use(new SettingsMirror({ bus, store, live, logger })),
    live,
  };
  starting.use(new CanaryWatch({ bus, plugins, events, onTakenBack: (plugin) => announceTakenBack(context, plugin) }));
  const { auditPruneMs } = all;
  const onPruned = () => context.announcer.wake();
  starting.use(new AuditPruner({ store, logger, settings: live.values, everyMs: auditPruneMs, onPruned }));
  const { crashSweepMs: everyMs, projectionWaitMs, projectionCursor: cursor } = all;
  starting.use(new CrashSweep({ bus, store, everyMs, projectionWaitMs, cursor }));
  await Promise.all([context.queueSettings.ready, context.settings.ready]);
  // Jobs are accepted without the database; only reading them needs it.
  starting.use(health.check("nats", () => (bus.connected ? undefined : "not connected")));
  starting.use(health.check("events", () => context.pressure.reason || undefined));
  starting.use(health.check("database", () => store.ping().then(() => undefined)));
  starting.use(metrics.beforeScrape(() => countPending(bus, metrics)));
  const info = describeProcess(node);
  const running = starting.move();
  return {
    services: [
      bindService(JobService, jobService(context)),
      bindService(PluginService, pluginService(context)),
      bindService(PluginRuntimeService, pluginRuntimeService(bus)),
      bindService(EventService, eventService(context)),
      bindService(AuditService, auditService(context)),
      bindService(AuditRuntimeService, auditRuntimeService(context)),
      bindService(SettingsService, settingsService(context)),
      bindService(SettingsRuntimeService, settingsRuntimeService(bus)),
      bindService(SystemService, { getInfo: () => info }),
    ],
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
