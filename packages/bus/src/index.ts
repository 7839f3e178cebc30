export { BrokerClock } from "./broker-clock.ts";
export {
  authorizationConfig,
  createBrokerKeys,
  tlsConfig,
  type BrokerCertificates,
  type BrokerKey,
} from "./broker-config.ts";
export type { BrokerLimits, StreamLimits } from "./broker-limits.ts";
export { brokerOptions, topologyOptions, type BrokerSettings, type StreamSettings } from "./broker-settings.ts";
export { brokerUsers, permissionsOf, type BrokerPermissions, type BrokerUser } from "./broker-users.ts";
export { Bus, connectBus, type SendOptions } from "./bus.ts";
export { BusError } from "./bus-error.ts";
export type { BusLogger } from "./bus-logger.ts";
export { BusMessage } from "./bus-message.ts";
export { CertificateFiles, type CertificatePaths, type Certificates } from "./certificate-files.ts";
export { Delivery } from "./delivery.ts";
export { EncodedHeaders, encodeHeaders, type HeaderList } from "./encode-headers.ts";
export { decodeMadeAnew, type QueueConsumer, type QueueConsumerOptions } from "./ensure-queue-consumers.ts";
export type { TopologyOptions } from "./ensure-topology.ts";
export type { KvBucket, KvEntry, KvWatch, KvWatchOptions } from "./kv-bucket.ts";
export type { LoggedMessage } from "./last-message.ts";
export type { BusOptions, BusStatus } from "./link.ts";
export { LeaderLease } from "./leader-lease.ts";
export { LiveWorkers } from "./live-workers.ts";
export type { LogUpkeep } from "./log-upkeep.ts";
export type { ModuleStore } from "./module-store.ts";
export type {
  OutgoingMessage,
  PipelinedPublisher,
  PublishDone,
  PublisherOptions,
  PublishSummary,
} from "./pipelined-publisher.ts";
export { probeBroker } from "./probe-broker.ts";
export { isSameStream } from "./same-stream.ts";
export type { PublishAck } from "./publish-ack.ts";
export type { PullEnd, PullEndReason, PullHandlers, PullOptions } from "./pull-hub.ts";
export type { ServerFeatures, ServerInfo } from "./server-info.ts";
export { StoreDisk, type StoreDiskOptions } from "./store-disk.ts";
export type { ReadOptions, ReadStart, StreamReader } from "./stream-reader.ts";
export type { ConsumerState, StreamState } from "./stream-state.ts";
export type { UpgradedLog, UpgradeOptions, UpgradeStep } from "./upgrade-streams.ts";
export type { FillOptions } from "./watch-fill.ts";
