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
  readonly attempt: number;
  readonly code: string;
  readonly message: string;
  readonly retryable: boolean;
  /** Unix ms. */
  readonly atMs: number;
  readonly breach?: JobBreach;
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
  seq: number;
  stream_created_ms: number;
}

export interface SchedulesTable {
  id: string;
  attempt: number;
  due_at: Date;
  subject: string;
  payload: Buffer;
  headers: Record<string, string[]>;
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
  schedules: SchedulesTable;
  plugin_versions: PluginVersionsTable;
}
