import type { Bus, LiveWorkers } from "@millrace/bus";
import type { LiveConfig, Logger } from "@millrace/service-kit";
import type { Store } from "@millrace/store";
import type { AuditAnnouncer } from "./audit-announcer.ts";
import type { CancelMarks } from "./cancel-marks.ts";
import type { CancelSweep } from "./cancel-sweep.ts";
import type { ClockSamples } from "./clock-samples.ts";
import type { ControlConfig } from "./config.ts";
import type { DryRunner } from "./dry-runner.ts";
import type { EndsInEvents } from "./ends-in-events.ts";
import type { EventSource } from "./event-source.ts";
import type { ControlEvents } from "./events.ts";
import type { HookRunner } from "./hook-runner.ts";
import type { LoadBounds } from "./load-bounds.ts";
import type { LogPressure } from "./log-pressure.ts";
import type { LogSearch } from "./log-search.ts";
import type { ModuleInspector } from "./module-inspector.ts";
import type { PluginKeys } from "./plugin-keys.ts";
import type { PluginLifecycle } from "./plugin-lifecycle.ts";
import type { PluginRegistry } from "./plugin-registry.ts";
import type { QueueSettingsMap } from "./queue-settings-map.ts";
import type { RecentJobs } from "./recent-jobs.ts";
import type { ResultInbox } from "./result-inbox.ts";
import type { SettingsMirror } from "./settings-mirror.ts";
import type { TakenIds } from "./taken-ids.ts";
import type { TypeClaims } from "./type-claims.ts";
import type { UniqueKeys } from "./unique-keys.ts";

/** What the methods work with. */
export interface ControlContext {
  readonly config: ControlConfig;
  /** Names this process in events and in GetInfo. */
  readonly node: string;
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: Logger;
  readonly events: ControlEvents;
  readonly pressure: LogPressure;
  readonly recent: RecentJobs;
  readonly clockSamples: ClockSamples;
  readonly takenIds: TakenIds;
  /** By owner. */
  readonly quotas: LoadBounds;
  /** By queue. */
  readonly queueBounds: LoadBounds;
  readonly inbox: ResultInbox;
  readonly uniqueKeys: UniqueKeys;
  readonly cancelMarks: CancelMarks;
  readonly cancelSweep: CancelSweep;
  readonly workers: LiveWorkers;
  readonly logSearch: LogSearch;
  readonly queueSettings: QueueSettingsMap;
  readonly eventSource: EventSource;
  readonly endsInEvents: EndsInEvents;
  readonly plugins: PluginRegistry;
  readonly typeClaims: TypeClaims;
  readonly keys: PluginKeys;
  readonly inspector: ModuleInspector;
  readonly hooks: HookRunner;
  readonly lifecycle: PluginLifecycle;
  readonly dryRunner: DryRunner;
  readonly announcer: AuditAnnouncer;
  readonly settings: SettingsMirror;
  /** Everything that is set in this process. */
  readonly live: LiveConfig;
}
