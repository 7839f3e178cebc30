import { randomUUID } from "node:crypto";
import { LiveWorkers, probeBroker, type Bus } from "@millrace/bus";
import {
  AuditRuntimeService,
  AuditService,
  EventService,
  JobService,
  LogService,
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
  PartStack,
  runtimeSettings,
  z,
  type Health,
  type Logger,
  type Metrics,
} from "@millrace/service-kit";
import type { Store } from "@millrace/store";
import { announceTakenBack } from "./announce-taken-back.ts";
import { AuditAnnouncer } from "./audit-announcer.ts";
import { AuditPruner } from "./audit-pruner.ts";
import { auditRuntimeService } from "./audit-runtime-service.ts";
import { auditService } from "./audit-service.ts";
import { CanaryWatch } from "./canary-watch.ts";
import { CancelMarks } from "./cancel-marks.ts";
import { CancelSweep } from "./cancel-sweep.ts";
import { defaultControlConfig, type ControlConfig, type ControlSettings } from "./config.ts";
import type { ControlContext } from "./control-context.ts";
import { DryRunner } from "./dry-runner.ts";
import { eventService } from "./event-service.ts";
import { EndsInEvents } from "./ends-in-events.ts";
import { EventSource } from "./event-source.ts";
import { EventTail } from "./event-tail.ts";
import { ClockSamples } from "./clock-samples.ts";
import { ControlEvents } from "./events.ts";
import { describeProcess } from "./get-info.ts";
import { jobService } from "./job-service.ts";
import { HookRunner } from "./hook-runner.ts";
import { LogPressure } from "./log-pressure.ts";
import { LogSearch } from "./log-search.ts";
import { ModuleInspector } from "./module-inspector.ts";
import { ownerQuotas } from "./owner-quotas.ts";
import { PluginKeys } from "./plugin-keys.ts";
import { PluginLifecycle } from "./plugin-lifecycle.ts";
import { PluginRegistry } from "./plugin-registry.ts";
import { pluginRuntimeService } from "./plugin-runtime-service.ts";
import { pluginService } from "./plugin-service.ts";
import { queueBounds } from "./queue-bounds.ts";
import { QueueSettingsMap } from "./queue-settings-map.ts";
import { countPending } from "./count-pending.ts";
import { RecentJobs } from "./recent-jobs.ts";
import { repairLogs } from "./repair-logs.ts";
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

/** Stops within 5 s, whatever the broker, the database or a plugin does. */
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
  await using starting = new PartStack({ logger });
  const tail = new EventTail(bus, all.tailMessages);
  const events = new ControlEvents(logger, metrics);
  const plugins = new PluginRegistry(bus);
  const keys = new PluginKeys(bus, all.pluginSignatures);
  const inspector = starting.use(new ModuleInspector());
  const hooks = new HookRunner(bus, inspector, all.hookTimeoutMs);
  const pressure = starting.use(new LogPressure(bus));
  const live = deps.live ?? new LiveConfig(changeable, loadConfig(changeable));
  const { workerPatienceMs, takeOverMs, projectionCursor: cursor } = all;
  const recent = new RecentJobs(all.recentJobs, all.recentBytes);
  const queueSettings = starting.use(new QueueSettingsMap(bus));
  const sweepless: Omit<ControlContext, "cancelSweep"> = {
    config: all,
    node,
    bus,
    store,
    logger,
    events,
    pressure,
    recent,
    clockSamples: new ClockSamples(bus),
    takenIds: new TakenIds(bus, store, recent, (log) => pressure.subjectsIn(log)),
    quotas: ownerQuotas({ bus, store, cursor, limits: live.values, onRefused: () => events.quotaReached() }),
    queueBounds: queueBounds({ bus, store, cursor, settings: queueSettings, onRefused: () => events.queueFull() }),
    inbox: starting.use(new ResultInbox(bus, all.maxWaiters)),
    uniqueKeys: new UniqueKeys({ bus, store, lostKeyMs: all.lostKeyMs }),
    cancelMarks: starting.use(new CancelMarks(bus)),
    workers: starting.use(new LiveWorkers(bus)),
    logSearch: new LogSearch(bus),
    endsInEvents: new EndsInEvents(bus),
    queueSettings,
    eventSource: starting.use(new EventSource(bus, tail, { backlog: all.watcherBacklog, maxReplays: all.maxReplays })),
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
  const context: ControlContext = { ...sweepless, cancelSweep: starting.use(new CancelSweep(sweepless)) };
  starting.use(new CanaryWatch({ bus, plugins, events, onTakenBack: (plugin) => announceTakenBack(context, plugin) }));
  const { auditPruneMs } = all;
  const onPruned = () => context.announcer.wake();
  starting.use(new AuditPruner({ store, logger, settings: live.values, everyMs: auditPruneMs, onPruned }));
  const { cancelMarks, workers, settings } = context;
  await Promise.all([queueSettings.ready, settings.ready, cancelMarks.ready, workers.ready]);
  // Jobs are accepted without the database; only reading them needs it.
  starting.use(health.check("nats", () => probeBroker(bus)));
  starting.use(health.check("logs", () => pressure.reason || undefined));
  starting.use(health.warn("pressure", () => pressure.alarm || undefined));
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
      bindService(LogService, { repairLogs: (request) => repairLogs(context, request) }),
      bindService(SystemService, { getInfo: () => info }),
    ],
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
