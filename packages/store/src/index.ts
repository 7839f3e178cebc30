export { jobVersion, maxFailures, type JobPatch, type JobPlace, type JobSubmission } from "./job-patch.ts";
export { openStore, type StoreLocation } from "./open-store.ts";
export { formatPosition, parsePosition, type EventPosition } from "./position.ts";
export type { JobFailure } from "./schema.ts";
export type { CursorStep, ProjectionCursor } from "./sql/advance-cursor.ts";
export type { StoredJob } from "./sql/get-job.ts";
export type { Schedule } from "./sql/insert-schedules.ts";
export { maxPageSize, type JobFilter, type JobPage } from "./sql/list-jobs.ts";
export type { Store } from "./store.ts";
