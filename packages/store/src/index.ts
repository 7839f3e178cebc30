export { emailKey } from "./identity/email-key.ts";
export type { HeldToken } from "./identity/api-tokens.ts";
export type { IdentityStore } from "./identity/identity-store.ts";
export type { DelayPolicy } from "./identity/login-failures.ts";
export type { Revocation } from "./identity/revocations.ts";
export type { OpenSession } from "./identity/sessions.ts";
export type { StoredSigningKey } from "./identity/signing-keys.ts";
export type { UserChanges } from "./identity/users.ts";
export {
  chainStart,
  endChain,
  followChain,
  pruningAction,
  pruningObject,
  sameHash,
  type AuditRecord,
  type ChainCheck,
  type ChainedRecord,
} from "./audit-chain.ts";
export type { AuditStore } from "./audit-store.ts";
export { maxFailures, type DoubleMessage, type JobPatch, type JobPlace, type JobSubmission } from "./job-patch.ts";
export { openStore, type StoreLocation } from "./open-store.ts";
export { formatPosition, parsePosition, type EventPosition } from "./position.ts";
export type { StoredPluginVersion } from "./plugin-version.ts";
export type { JobBreach, JobDouble, JobFailure } from "./schema.ts";
export type { CursorStep, LogCursor, LogCursors } from "./sql/advance-cursor.ts";
export type { Applied } from "./sql/apply-events.ts";
export type { StoredCursor } from "./sql/read-cursors.ts";
export type { Floors } from "./sql/flush-floors.ts";
export type { StoredJob } from "./sql/get-job.ts";
export type { StubJob } from "./sql/list-stubs.ts";
export type { PlacedJob, UnfinishedFilter } from "./sql/list-unfinished.ts";
export type { DueJob } from "./sql/claim-due-jobs.ts";
export type { ReleasedJob } from "./sql/mark-released.ts";
export type { NextDue } from "./sql/next-due.ts";
export type { JobKey } from "./sql/find-job-keys.ts";
export { maxPageSize, type JobFilter, type JobPage } from "./sql/list-jobs.ts";
export type { OwnerLoad } from "./sql/read-owner-load.ts";
export type { Store } from "./store.ts";
export { isUnfitRow } from "./store-error.ts";
export type { AuditFilter, AuditPage } from "./sql/list-audit.ts";
export type { AuditHead } from "./sql/read-audit.ts";
export type { SettingsStore } from "./settings-store.ts";
export type { StoredFlag, StoredSetting } from "./sql/settings.ts";
