import { runtimeSettings, type z } from "@millrace/service-kit";
import type { SignaturePolicy } from "./plugin-keys.ts";

/** Bounds of the control service; each has a default that suits a single machine. */
export interface ControlConfig {
  /** Callers of SubmitJob that wait for a result at one time; one more is refused. */
  readonly maxWaiters: number;
  /** Accepted jobs that are remembered until the projection knows them. */
  readonly recentJobs: number;
  /** Bytes of payload among them. */
  readonly recentBytes: number;
  /** Events that a watcher may be behind before it is cut. */
  readonly watcherBacklog: number;
  /** Stream messages that the shared tail keeps, so that watchers join without a read of their own. */
  readonly tailMessages: number;
  /** Watchers that replay old events at one time; each has a consumer of its own. */
  readonly maxReplays: number;
  /** A unique key that is younger is held, whether its job is in the read model or not: it may be on its way. */
  readonly lostKeyMs: number;
  /** Cancel marks are looked through so often. */
  readonly cancelSweepMs: number;
  /** A job that was marked so long ago, has not ended and is in nobody's hand, is cancelled by whoever sees it. */
  readonly markPatienceMs: number;
  /** A mark stays so long after its job has ended: until then a worker may still meet it. */
  readonly markKeepMs: number;
  /** Entries of the audit trail that were kept long enough are looked for so often. */
  readonly auditPruneMs: number;
  /** Name under which the projector keeps its places. */
  readonly projectionCursor: string;
  /** Dry runs at one time. */
  readonly maxDryRuns: number;
  /** Whether plugins must be signed. */
  readonly pluginSignatures: SignaturePolicy;
  /** Longest run of a hook of a plugin's lifecycle. */
  readonly hookTimeoutMs: number;
  /** An upload waits so long for a worker that runs its hooks; then it is tried in the background. */
  readonly workerPatienceMs: number;
  /** A plugin on its way that nobody has moved for so long was left by a control that ended. */
  readonly takeOverMs: number;
}

const { quotaJobs, quotaBytes, auditRetentionDays } = runtimeSettings;

/** What may be changed while control runs; to be looked up anew each time. */
export const controlSettings = { quotaJobs, quotaBytes, auditRetentionDays };

export type ControlSettings = z.output<z.ZodObject<typeof controlSettings>>;

export const defaultControlConfig: ControlConfig = {
  maxWaiters: 5_000,
  recentJobs: 10_000,
  recentBytes: 16 << 20,
  watcherBacklog: 2_000,
  tailMessages: 2_048,
  maxReplays: 64,
  lostKeyMs: 300_000,
  cancelSweepMs: 2000,
  markPatienceMs: 10_000,
  markKeepMs: 60_000,
  auditPruneMs: 3_600_000,
  projectionCursor: "jobs",
  maxDryRuns: 2,
  pluginSignatures: "optional",
  hookTimeoutMs: 5000,
  workerPatienceMs: 5000,
  takeOverMs: 20_000,
};
