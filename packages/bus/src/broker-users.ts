import {
  buckets,
  commandAllSubject,
  commandCancelSubject,
  commandSubject,
  eventBatchSubject,
  eventsStream,
  invokeSubject,
  JobService,
  jobStream,
  moduleBucket,
  pluginLogSubject,
  pluginQueues,
  pluginStatsSubject,
  priorityLevels,
  priorityName,
  queueFilter,
  rpcSubject,
  schedulerConsumer,
  scheduleStream,
  streamTopology,
  subjectRoots,
} from "@millrace/protocol";
import { inboxOf, type InboxPurpose } from "./inbox.ts";

/** A user of the broker for each service; `admin` makes the streams and does nothing else. */
export const brokerUsers = [
  "admin",
  "gateway",
  "control",
  "worker",
  "projector",
  "scheduler",
  "identity",
  "publisher",
] as const;

export type BrokerUser = (typeof brokerUsers)[number];

/** Subjects, with wildcards. What is not here is refused. */
export interface BrokerPermissions {
  readonly publish: readonly string[];
  /** Of `publish`, what is refused all the same. */
  readonly neverPublish: readonly string[];
  readonly subscribe: readonly string[];
}

type Bucket = keyof typeof buckets;

const api = "$JS.API";
const jobStreams = priorityLevels.map((level) => jobStream(priorityName(level)));
const kvStream = (bucket: Bucket): string => `KV_${buckets[bucket].name}`;
const moduleStream = `OBJ_${moduleBucket}`;
const allStreams = [
  ...streamTopology().map((stream) => stream.name),
  ...(Object.keys(buckets) as Bucket[]).map(kvStream),
  moduleStream,
];
// Priority, queue and type; the id; and, for control alone, the owner.
const jobSubjects = [`${subjectRoots.jobs}.*.*.*`, `${subjectRoots.jobs}.*.*.*.*`];
const ownedJobSubjects = `${subjectRoots.jobs}.*.*.*.*.*`;
const scheduleSubjects = `${subjectRoots.schedule}.*.*.*.*`;
const ownedScheduleSubjects = `${subjectRoots.schedule}.*.*.*.*.*`;
const platformSubjects = `${subjectRoots.platformEvents}.>`;

/**
 * The least that each service works with. Nobody has `$JS.API.>`, and nobody but `admin` makes or changes a stream: a stream
 * may copy any subject, so whoever makes one hears everything. Each service hears answers under an inbox of its own only.
 */
export function permissionsOf(user: BrokerUser): BrokerPermissions {
  const { publish, neverPublish = [], subscribe = [] } = tables[user]();
  return { publish, neverPublish, subscribe: [inboxOf(user, ">"), ...subscribe] };
}

interface Table {
  readonly publish: readonly string[];
  readonly neverPublish?: readonly string[];
  /** Beside the inbox. */
  readonly subscribe?: readonly string[];
}

const tables: Readonly<Record<BrokerUser, () => Table>> = {
  admin: () => ({
    publish: allStreams.flatMap((stream) =>
      ["INFO", "CREATE", "UPDATE"].map((verb) => `${api}.STREAM.${verb}.${stream}`),
    ),
  }),

  gateway: () => ({
    publish: [
      // For a caller: what others ask for on `rpc.<service>.<Method>` names none.
      `${subjectRoots.gatewayRpc}.>`,
      // Credit and pings of a stream of messages go back to who serves it.
      purposeInbox("control", "streams"),
      purposeInbox("identity", "streams"),
    ],
  }),

  control: () => ({
    publish: [
      inboxOf("gateway", ">"),
      purposeInbox("publisher", "answers"),
      ...jobSubjects,
      ownedJobSubjects,
      scheduleSubjects,
      ownedScheduleSubjects,
      eventBatchSubject("*"),
      platformSubjects,
      commandCancelSubject,
      invokeSubject,
      ...reads(eventsStream),
      ...[...jobStreams, scheduleStream].flatMap(repairs),
      ...(["queues", "cancel", "plugins", "pluginKeys", "settings", "processes"] as const).flatMap(follows),
      ...(["queues", "cancel", "plugins", "pluginKeys", "settings", "processes"] as const).map(writes),
      ...(["unique", "pluginTypes"] as const).flatMap((bucket) => [gets(bucket), writes(bucket)]),
      gets("recordings"),
      ...compacts("cancel"),
      ...readsModules(),
      ...writesModules(),
    ],
    subscribe: [
      ...["jobs", "plugins", "events", "system"].flatMap(methodsOf),
      pluginStatsSubject("*"),
      pluginLogSubject("*"),
    ],
  }),

  worker: () => ({
    publish: [
      ...priorityLevels.flatMap(serveQueues),
      eventBatchSubject("*"),
      scheduleSubjects,
      // Jobs and events of plugins that were granted it.
      ...jobSubjects,
      platformSubjects,
      pluginStatsSubject("*"),
      pluginLogSubject("*"),
      purposeInbox("*", "results"),
      purposeInbox("control", "answers"),
      ...(["queues", "cancel", "plugins", "pluginKeys", "pluginState", "settings"] as const).flatMap(follows),
      tellsItsSettings("worker"),
      gets("crashes"),
      ...(["pluginState", "crashes", "recordings"] as const).map(writes),
      ...compacts("pluginState"),
      ...readsModules(),
    ],
    subscribe: [commandAllSubject, commandCancelSubject, commandSubject("*"), invokeSubject],
  }),

  projector: () => ({
    publish: [
      eventBatchSubject("*"),
      ...reads(eventsStream),
      `${api}.STREAM.PURGE.${eventsStream}`,
      ...follows("settings"),
      tellsItsSettings("projector"),
      ...[...jobStreams, scheduleStream].flatMap((stream) => [info(stream), `${api}.STREAM.MSG.DELETE.${stream}`]),
    ],
  }),

  scheduler: () => ({
    publish: [
      ...jobSubjects,
      eventBatchSubject("*"),
      ...reads(eventsStream),
      // Plugins that hear of no jobs.
      consumerCreation(eventsStream, platformSubjects),
      ...[...jobStreams, scheduleStream].map(info),
      ...serves(scheduleStream, schedulerConsumer, `${subjectRoots.schedule}.>`),
      ...(["plugins", "settings", "eventCursors"] as const).flatMap(follows),
      tellsItsSettings("scheduler"),
      writes("eventCursors"),
    ],
  }),

  identity: () => ({
    publish: [inboxOf("gateway", ">"), ...follows("settings"), tellsItsSettings("identity")],
    subscribe: methodsOf("identity"),
  }),

  publisher: () => ({
    publish: [
      ...jobSubjects,
      // Jobs with a unique key are looked at before they are stored.
      rpcSubject(JobService.typeName, JobService.method.submitJob.name),
    ],
    // What comes by these a plugin takes for Millrace's own word.
    neverPublish: Object.values(pluginQueues).map((queue) => `${subjectRoots.jobs}.*.${queue}.>`),
  }),
};

/** Methods of an area of the contract, as gateways and as others call them. */
function methodsOf(area: string): string[] {
  return [subjectRoots.gatewayRpc, subjectRoots.rpc].map((root) => `${root}.millrace.${area}.>`);
}

function purposeInbox(user: BrokerUser | "*", purpose: InboxPurpose): string {
  return `${inboxOf(user, purpose)}.>`;
}

function info(stream: string): string {
  return `${api}.STREAM.INFO.${stream}`;
}

/** By a consumer of one's own that is made for it; with a filter the broker holds the consumer to it. */
function reads(stream: string, filter?: string): string[] {
  return [
    info(stream),
    consumerCreation(stream, filter),
    `${api}.CONSUMER.MSG.NEXT.${stream}.*`,
    `${api}.CONSUMER.DELETE.${stream}.*`,
  ];
}

function consumerCreation(stream: string, filter?: string): string {
  return `${api}.CONSUMER.CREATE.${stream}.*${filter === undefined ? "" : `.${filter}`}`;
}

/** Makes the durable consumer, pulls from it, answers for what came. */
function serves(stream: string, consumer: string, filter: string): string[] {
  return [
    `${api}.CONSUMER.INFO.${stream}.${consumer}`,
    `${api}.CONSUMER.CREATE.${stream}.${consumer}.${filter}`,
    `${api}.CONSUMER.MSG.NEXT.${stream}.${consumer}`,
    `$JS.ACK.${stream}.${consumer}.>`,
  ];
}

function serveQueues(level: (typeof priorityLevels)[number]): string[] {
  const stream = jobStream(priorityName(level));
  // A wildcard stands for a whole token, so not for the queue in a consumer's name; the filter holds it to a queue.
  return [info(stream), ...serves(stream, "*", queueFilter(level, "*"))];
}

/** What the sweep after a crash of the broker does, and what cancelling and counting need. */
function repairs(stream: string): string[] {
  return [
    info(stream),
    ...["LIST.%", "INFO.%.*", "DELETE.%.*"].map((verb) => `${api}.CONSUMER.${verb.replace("%", stream)}`),
    `${api}.CONSUMER.CREATE.${stream}.*.>`,
    `${api}.STREAM.MSG.GET.${stream}`,
    `${api}.STREAM.MSG.DELETE.${stream}`,
  ];
}

function gets(bucket: Bucket): string {
  return `${api}.DIRECT.GET.${kvStream(bucket)}.${keysOf(bucket)}`;
}

function follows(bucket: Bucket): string[] {
  return [...reads(kvStream(bucket), keysOf(bucket)), gets(bucket)];
}

function writes(bucket: Bucket): string {
  return keysOf(bucket);
}

/** And nobody else's. */
function tellsItsSettings(user: BrokerUser): string {
  return `$KV.${buckets.processes.name}.${user}.*`;
}

function keysOf(bucket: Bucket): string {
  return `$KV.${buckets[bucket].name}.>`;
}

function compacts(bucket: Bucket): string[] {
  return [`${api}.STREAM.MSG.DELETE.${kvStream(bucket)}`];
}

function readsModules(): string[] {
  return [...reads(moduleStream, `$O.${moduleBucket}.C.>`), `${api}.DIRECT.GET.${moduleStream}.$O.${moduleBucket}.M.>`];
}

function writesModules(): string[] {
  return [`$O.${moduleBucket}.C.>`, `$O.${moduleBucket}.M.>`, `${api}.STREAM.PURGE.${moduleStream}`];
}
