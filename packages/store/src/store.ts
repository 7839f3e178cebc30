import type { QueueStats, RowStanding } from "@millrace/protocol";
import { Kysely, sql } from "kysely";
import { AuditStore } from "./audit-store.ts";
import { IdentityStore } from "./identity/identity-store.ts";
import type { DoubleMessage, JobPatch } from "./job-patch.ts";
import { migrate } from "./migrations.ts";
import type { OpenPool } from "./open-pool.ts";
import type { StoredPluginVersion } from "./plugin-version.ts";
import type { Schema } from "./schema.ts";
import { SettingsStore } from "./settings-store.ts";
import type { CursorStep } from "./sql/advance-cursor.ts";
import { applyEvents, type Applied } from "./sql/apply-events.ts";
import { claimDueJobs, type DueJob } from "./sql/claim-due-jobs.ts";
import { findJobKeys, type JobKey } from "./sql/find-job-keys.ts";
import { findStandings } from "./sql/find-standings.ts";
import { flushFloors, type Floors } from "./sql/flush-floors.ts";
import { getJob, type StoredJob } from "./sql/get-job.ts";
import { grantPluginVersions } from "./sql/grant-plugin-versions.ts";
import { hasPluginModule } from "./sql/has-plugin-module.ts";
import { insertPluginVersion } from "./sql/insert-plugin-version.ts";
import { listJobs, type JobFilter, type JobPage } from "./sql/list-jobs.ts";
import { listPluginVersions } from "./sql/list-plugin-versions.ts";
import { listQueueStats } from "./sql/list-queue-stats.ts";
import { listStubs, type StubJob } from "./sql/list-stubs.ts";
import { countUnfinished, listUnfinished, type PlacedJob, type UnfinishedFilter } from "./sql/list-unfinished.ts";
import { markReleased, type ReleasedJob } from "./sql/mark-released.ts";
import { nextDue, type NextDue } from "./sql/next-due.ts";
import { samplePayloads, type PayloadSample } from "./sql/sample-payloads.ts";
import { readOwnerLoad, type OwnerLoad } from "./sql/read-owner-load.ts";
import { readCursors, type StoredCursor } from "./sql/read-cursors.ts";
import { StoreDialect } from "./store-dialect.ts";
import { translateStoreError } from "./store-error.ts";

/**
 * The read model, the schedules, the versions of plugins, the audit trail and settings, on PostgreSQL or PGlite. While the
 * database is away every method throws MillraceError `unavailable`, and works again when it is back; nothing else happens
 * to the process.
 */
export class Store implements AsyncDisposable {
  readonly #open: OpenPool;
  /** For this package and its tests. @internal */
  readonly db: Kysely<Schema>;
  /** Users, sessions and tokens. */
  readonly identity: IdentityStore = new IdentityStore((work) => this.#run(work));
  readonly audit: AuditStore = new AuditStore((work) => this.#run(work));
  readonly settings: SettingsStore = new SettingsStore((work) => this.#run(work));

  constructor(open: OpenPool) {
    this.#open = open;
    this.db = new Kysely<Schema>({ dialect: new StoreDialect(open.pool, open.scope) });
  }

  /**
   * Brings the schema up to date; with `{ down: n }` takes back the last n migrations. An index of a large table takes its time, and
   * so does waiting for who migrates already.
   */
  async migrate(direction: "up" | { readonly down: number } = "up"): Promise<void> {
    const { scope, openPatient } = this.#open;
    const pool = openPatient?.();
    if (pool === undefined) return this.#run((db) => migrate(db, direction));
    const schema = scope?.schema;
    const db = new Kysely<Schema>({ dialect: new StoreDialect(pool, schema === undefined ? undefined : { schema }) });
    try {
      await this.#run(() => migrate(db, direction, schema));
    } finally {
      // With its pool.
      await db.destroy();
    }
  }

  /** Answers when the database does. */
  async ping(): Promise<void> {
    await this.#run((db) => sql`SELECT 1`.execute(db));
  }

  getJob(id: string): Promise<StoredJob | undefined> {
    return this.#run((db) => getJob(db, id));
  }

  /** What tells the jobs of these ids from others; those that no row has are left out. */
  findJobKeys(ids: readonly string[]): Promise<Map<string, JobKey>> {
    return this.#run((db) => findJobKeys(db, ids));
  }

  listJobs(filter: JobFilter, page: { readonly size: number; readonly token: string }): Promise<JobPage> {
    return this.#run((db) => listJobs(db, filter, page));
  }

  /** Every queue that has jobs; `paused` is not known here. */
  listQueues(): Promise<QueueStats[]> {
    return this.#run((db) => listQueueStats(db));
  }

  /** Undefined for a queue that never had a job. */
  async getQueueStats(queue: string): Promise<QueueStats | undefined> {
    const stats = await this.#run((db) => listQueueStats(db, queue));
    return stats[0];
  }

  /** How large the payloads of a queue's newest jobs are, and of those among them that wait. */
  samplePayloads(queue: string): Promise<PayloadSample> {
    return this.#run((db) => samplePayloads(db, queue));
  }

  /** Unfinished jobs of one user, up to where the projection of this name has come. */
  readOwnerLoad(owner: string, cursor: string): Promise<OwnerLoad> {
    return this.#run((db) => readOwnerLoad(db, owner, cursor));
  }

  /** How far the projection has read each log, by the logs' names. */
  readCursors(name: string): Promise<Map<string, StoredCursor>> {
    return this.#run((db) => readCursors(db, name));
  }

  /** Flushes what the projection has written, and tells below what each log may be trimmed; see flushFloors. */
  flushFloors(name: string, logs: readonly string[]): Promise<Floors> {
    return this.#run((db) => flushFloors(db, name, logs));
  }

  /** Where the jobs of these ids stand. */
  findStandings(ids: readonly string[]): Promise<RowStanding[]> {
    return this.#run((db) => findStandings(db, ids));
  }

  /** Unfinished jobs whose place is in this log, by their places. */
  listUnfinished(stream: string, filter: UnfinishedFilter): Promise<PlacedJob[]> {
    return this.#run((db) => listUnfinished(db, stream, filter));
  }

  /** How many they are; `limit` when there are more. */
  countUnfinished(stream: string, limit: number): Promise<number> {
    return this.#run((db) => countUnfinished(db, stream, limit));
  }

  /** Rows without a submission, of which nothing was heard for so long. */
  listStubs(olderThanMs: number, limit: number): Promise<StubJob[]> {
    return this.#run((db) => listStubs(db, olderThanMs, limit));
  }

  /** Rows and cursors in one transaction; `aborted` when another reader moved a cursor; see applyEvents. */
  applyEvents(
    patches: readonly JobPatch[],
    step: CursorStep,
    doubles: readonly DoubleMessage[] = [],
  ): Promise<Applied> {
    return this.#run((db) => applyEvents(db, patches, step, doubles));
  }

  /** Jobs whose time has come, for one who publishes them; see claimDueJobs. */
  claimDueJobs(options: { readonly limit: number; readonly leaseMs: number }): Promise<DueJob[]> {
    return this.#run((db) => claimDueJobs(db, options));
  }

  /** Of those that were claimed, which their logs have stored; see markReleased. */
  markReleased(released: readonly ReleasedJob[]): Promise<void> {
    return this.#run((db) => markReleased(db, released));
  }

  /** When the next job is due, by the database's clock. */
  nextDue(): Promise<NextDue> {
    return this.#run((db) => nextDue(db));
  }

  /** Keeps one upload; see insertPluginVersion. @returns hashes of modules that nothing names any more */
  insertPluginVersion(version: StoredPluginVersion): Promise<string[]> {
    return this.#run((db) => insertPluginVersion(db, version));
  }

  /** Whether a version of any plugin has the module. */
  hasPluginModule(sha256: string): Promise<boolean> {
    return this.#run((db) => hasPluginModule(db, sha256));
  }

  /** Uploads of one plugin, newest first. */
  listPluginVersions(name: string): Promise<StoredPluginVersion[]> {
    return this.#run((db) => listPluginVersions(db, name));
  }

  /** Replaces what every version of a plugin is granted. */
  grantPluginVersions(name: string, grants: readonly string[]): Promise<void> {
    return this.#run((db) => grantPluginVersions(db, name, grants));
  }

  /** Within 2 s, whatever the database does, and with PGlite 10 s more: a statement that runs longer fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#open[Symbol.asyncDispose]();
  }

  async #run<T>(work: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
    try {
      return await work(this.db);
    } catch (error) {
      throw translateStoreError(error);
    }
  }
}
