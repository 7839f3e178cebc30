export * from "./gen/millrace/identity/v1/auth_service_pb.ts";
export * from "./gen/millrace/identity/v1/identity_pb.ts";
export * from "./gen/millrace/identity/v1/identity_runtime_pb.ts";
export * from "./gen/millrace/identity/v1/limiter_runtime_pb.ts";
export * from "./gen/millrace/identity/v1/token_service_pb.ts";
export * from "./gen/millrace/identity/v1/user_service_pb.ts";
export * from "./gen/millrace/jobs/v1/job_pb.ts";
export * from "./gen/millrace/jobs/v1/job_service_pb.ts";
export * from "./gen/millrace/plugins/v1/plugin_pb.ts";
export * from "./gen/millrace/plugins/v1/plugin_runtime_pb.ts";
export * from "./gen/millrace/plugins/v1/plugin_service_pb.ts";
export * from "./gen/millrace/system/v1/audit_runtime_pb.ts";
export * from "./gen/millrace/system/v1/audit_service_pb.ts";
export * from "./gen/millrace/system/v1/settings_runtime_pb.ts";
export * from "./gen/millrace/system/v1/settings_service_pb.ts";
export * from "./gen/millrace/system/v1/log_service_pb.ts";
export * from "./gen/millrace/system/v1/system_service_pb.ts";
export * from "./gen/millrace/events/v1/event_service_pb.ts";
export * from "./gen/millrace/events/v1/events_pb.ts";
export * from "./gen/grpc/health/v1/health_pb.ts";
export * from "./gen/grpc/reflection/v1/reflection_pb.ts";
export { access as accessRule, type Access } from "./gen/millrace/options/v1/access_pb.ts";
export { http as httpRule } from "./gen/google/api/annotations_pb.ts";
export type { HttpRule } from "./gen/google/api/http_pb.ts";
export { backoffDelayMs, defaultBackoff, formatBackoff, parseBackoff, type BackoffPolicy } from "./backoff.ts";
export { bookmarksHeader, callerHeader, decodeCaller, encodeCaller, type CallerInfo } from "./caller.ts";
export {
  errorTable,
  jobErrorCodes,
  MillraceError,
  type ErrorBody,
  type ErrorCode,
  type ErrorDetail,
  type JobErrorCode,
} from "./errors.ts";
export {
  defaultJobOptions,
  defaultMaxAttempts,
  formatJobOptions,
  headerNames,
  maxAttempt,
  maxMove,
  maxRun,
  maxTags,
  parseJobOptions,
  type HeaderProblem,
  type JobOptions,
  type ParsedJobOptions,
} from "./headers.ts";
export {
  decodeCancelMark,
  decodePlaceMark,
  encodeCancelMark,
  encodePlaceMark,
  placeMarkKey,
  type CancelMark,
  type PlaceMark,
} from "./cancel-mark.ts";
export { anewMessageId, jobAnew, type JobAnew } from "./job-anew.ts";
export { deriveJobId, jobIdOf, newJobId, type LogPlace } from "./job-id.ts";
export {
  decodeJson,
  type RepairAnswer,
  type RepairQuestion,
  type RowsAnswer,
  type RowsQuestion,
  type RowStanding,
  type WorkerRecord,
  type HoldsAnswer,
} from "./asked.ts";
export {
  isJobId,
  isJobType,
  isOwner,
  isOwnJobId,
  isOwnQueue,
  isQueueName,
  isTaggableExport,
  ownIdPrefix,
  pluginQueues,
} from "./names.ts";
export { fromWirePayload, toWirePayload, type WirePayload } from "./payload.ts";
export { EventEncoder, type EventFields } from "./event-encoder.ts";
export { matchesEvent } from "./event-pattern.ts";
export { isReservedEvent, reservedEventRoots } from "./reserved-events.ts";
export {
  isPermission,
  isScope,
  permissions,
  permissionsOfRoles,
  permissionsOfScopes,
  type Permission,
} from "./permissions.ts";
export { poisonedContent } from "./poisoned-content.ts";
export { decodePluginRecord, encodePluginRecord } from "./plugin-record.ts";
export { canonicalManifest, pluginKeyId, refuseSignature, signPlugin, type SignedContent } from "./plugin-signature.ts";
export { byteSizeForms, parseByteSize } from "./byte-size.ts";
export { decodeQueueSettings, encodeQueueSettings, type QueueSettings } from "./queue-settings.ts";
export {
  isPriorityName,
  priorityLevel,
  priorityLevels,
  priorityName,
  priorityNames,
  priorityOrNormal,
  type PriorityLevel,
  type PriorityName,
} from "./priority.ts";
export { csrfHeader, readCookie, secureCookiePrefix, sessionCookies } from "./session-cookies.ts";
export { identityServices, services } from "./services.ts";
export {
  attemptOfVersion,
  eventName,
  isReplayable,
  isTerminal,
  jobVersion,
  moveOfVersion,
  runOfVersion,
  runUnit,
  stateAfter,
  stateName,
  stateRank,
  supersedes,
  type JobPosition,
  type JobStanding,
} from "./states.ts";
export {
  announcementSubject,
  commandAllSubject,
  commandCancelSubject,
  commandSubject,
  eventBatchSubject,
  gatewayRpcSubject,
  idInHeader,
  invokeSubject,
  jobSubject,
  parseJobSubject,
  platformEventSubject,
  pluginLogSubject,
  pluginStatsSubject,
  repairSubject,
  rowsSubject,
  rpcSubject,
  scheduleSubject,
  sharedJobSubject,
  sharedScheduleSubject,
  splitOwner,
  subjectRoots,
  withOwner,
  type JobSubject,
} from "./subjects.ts";
export {
  buckets,
  defaultTopologyLimits,
  duplicateWindowMs,
  eventsStream,
  jobLogs,
  jobStream,
  moduleBucket,
  queueConsumer,
  queueFilter,
  queueOfConsumer,
  scheduleStream,
  streamTopology,
  type BucketTopology,
  type StreamTopology,
  type TopologyLimits,
} from "./topology.ts";
export { version } from "./version.ts";
