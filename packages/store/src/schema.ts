import type { JsonValue } from "@bufbuild/protobuf";
import type { JobState, Priority } from "@millrace/protocol";
import type { IdentitySchema } from "./identity/identity-schema.ts";

/** Rows as the driver returns them: bigint as number (all of ours stay below 2^53), timestamptz as Date. */

/** The limit that a failure ran into, as millrace.jobs.v1.Breach. */
export interface JobBreach {
  readonly resource: string;
  readonly figure: number;
  readonly limit: number;
  readonly unit: string;
}

/** One failure as `jobs.errors` keeps it. */
export interface JobFailure {
  /** Left out of the first run. */
  readonly run?: number;
  readonly attempt: number;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  /** Unix ms. */
  readonly atMs: number;
  readonly breach?: JobBreach;
}

/** A later message under a job's id, as `jobs.duplicates` keeps it. */
export interface JobDouble {
  /** `<stream>/<seq>` */
  readonly place: string;
  /** When its stream stored it, Unix ms. */
  readonly atMs: number;
  readonly mayHaveRun: boolean;
}

export interface JobsTable {
  id: string;
  queue: string;
  type: string;
  priority: Priority;
  state: JobState;
  attempt: number;
  max_attempts: number | null;
  version: number;
  payload: Buffer | null;
  content_type: string | null;
  headers: Record<string, string> | null;
  raw_headers: string | null;
  tags: string[] | null;
  correlation_id: string | null;
  unique_key: string | null;
  traceparent: string | null;
  submitted_at: Date;
  run_at: Date | null;
  stream: string | null;
  stream_seq: number | null;
  stream_version: number;
  worker: string | null;
  started_at: Date | null;
  finished_at: Date | null;
  run_us: number | null;
  result: Buffer | null;
  result_content_type: string | null;
  wait_reason: string | null;
  errors: JobFailure[] | null;
  cancel_requested_at: Date | null;
  plugin: string | null;
  fuel: number | null;
  owner: string | null;
  due_at: Date | null;
  reply_to: string | null;
  first_stream: string | null;
  first_seq: number | null;
  duplicates: JobDouble[] | null;
  event_seq: number;
  event_index: number;
  updated_at: Date;
}

export interface QueueStatsTable {
  queue: string;
  state: JobState;
  priority: Priority;
  count: number;
}

export interface OwnerStatsTable {
  owner: string;
  jobs: number;
  bytes: number;
}

export interface ProjectionCursorTable {
  name: string;
  log: string;
  seq: number;
  stream_created_ms: number;
  at_ms: number;
  flushed_seq: number;
  announced_seq: number;
}

export interface PluginVersionsTable {
  name: string;
  version: string;
  sha256: string;
  size_bytes: number;
  manifest: JsonValue;
  key_id: string | null;
  signature: Buffer | null;
  grants: string[];
  replaceable: boolean;
  uploaded_at: Date;
}

export interface AuditEntriesTable {
  seq: number;
  id: string;
  at: Date;
  user_id: string;
  email: string;
  token_id: string;
  address: string;
  door: string;
  action: string;
  object: string;
  result: string;
  request_id: string;
  hash: Buffer;
}

export interface AuditHeadTable {
  one: boolean;
  seq: number;
  hash: Buffer;
  announced_seq: number;
  pruned_seq: number;
  pruned_hash: Buffer;
}

export interface SettingsTable {
  name: string;
  value: JsonValue;
  updated_at: Date;
}

export interface FlagsTable {
  name: string;
  enabled: boolean;
  percent: number;
  updated_at: Date;
}

export interface Schema extends IdentitySchema {
  audit_entries: AuditEntriesTable;
  audit_head: AuditHeadTable;
  settings: SettingsTable;
  flags: FlagsTable;
  jobs: JobsTable;
  queue_stats: QueueStatsTable;
  owner_stats: OwnerStatsTable;
  projection_cursor: ProjectionCursorTable;
  plugin_versions: PluginVersionsTable;
}
