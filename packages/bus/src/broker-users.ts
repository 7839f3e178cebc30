import {
  announcementSubject,
  buckets,
  commandAllSubject,
  commandCancelSubject,
  commandSubject,
  eventBatchSubject,
  eventsStream,
  idInHeader,
  invokeSubject,
  JobService,
  jobLogs,
  jobStream,
  moduleBucket,
  pluginLogSubject,
  pluginQueues,
  pluginStatsSubject,
  priorityLevels,
  priorityName,
  queueFilter,
  repairSubject,
  rowsSubject,
  rpcSubject,
  streamTopology,
  subjectRoots,
} from "@millrace/protocol";
import { copyOf, lockSubject, upgradeRoot } from "./former-streams.ts";
import { inboxOf, type InboxPurpose } from "./inbox.ts";
import { consumerElections, Namespace, streamElections, type NamespaceOptions } from "./namespace.ts";

/** A user of the broker for each service; `admin` makes the streams, and moves jobs out of a former version's. */
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
const kvStream = (bucket: Bucket): string => `KV_${buckets[bucket].name}`;
const moduleStream = `OBJ_${moduleBucket}`;
const allStreams = [
  ...streamTopology().map((stream) => stream.name),
  ...(Object.keys(buckets) as Bucket[]).map(kvStream),
  moduleStream,
];
// Priority, queue and type; the id; and the owner, whom nobody may name but who has it from a caller or from the job.
const jobSubjects = [`${subjectRoots.jobs}.*.*.*`, `${subjectRoots.jobs}.*.*.*.*`];
const ownedJobSubjects = `${subjectRoots.jobs}.*.*.*.*.*`;
const scheduleSubjects = `${subjectRoots.schedule}.*.*.*.*`;
const ownedScheduleSubjects = `${subjectRoots.schedule}.*.*.*.*.*`;
/** Of a job whose id travels in a header, as a worker publishes it for its next attempt. */
const ownedRetries = [subjectRoots.jobs, subjectRoots.schedule].map((root) => `${root}.*.*.*.${idInHeader}.*`);
/** For who publishes: what was on its way to a leader that died is sent again to the next. */
const leaders = streamTopology().map(({ name }) => streamElections(name));
const platformSubjects = `${subjectRoots.platformEvents}.>`;

/**
 * The least that each service works with. Nobody has `$JS.API.>`, and nobody but `admin` makes or changes a stream: a stream
 * may copy any subject, so whoever makes one hears everything. Each service hears answers under an inbox of its own only.
 */
export function permissionsOf(user: BrokerUser, options: NamespaceOptions = {}): BrokerPermissions {
  const { publish, neverPublish = [], subscribe = [] } = tables[user]();
  const namespace = Namespace.of(options);
  const own = { publish, neverPublish, subscribe: [inboxOf(user, ">"), ...subscribe] };
  if (namespace === undefined) return own;
  return {
    publish: own.publish.map((subject) => namespace.permission(subject)),
    neverPublish: own.neverPublish.map((subject) => namespace.permission(subject)),
    subscribe: own.subscribe.map((subject) => namespace.stored(subject)),
  };
}

interface Table {
  readonly publish: readonly string[];
  readonly neverPublish?: readonly string[];
  /** Beside the inbox. */
  readonly subscribe?: readonly string[];
}

const tables: Readonly<Record<BrokerUser, () => Table>> = {
  admin: () => ({
    publish: [
      // What the account may store, and which features its cluster has.
      `${api}.INFO`,
      ...allStreams.flatMap((stream) => ["INFO", "CREATE", "UPDATE"].map((verb) => `${api}.STREAM.${verb}.${stream}`)),
      ...jobLogs.flatMap(replacesFormer),
      // What it moves from there to here, whatever the subjects: others publish by the same.
      ...[upgradeRoot, subjectRoots.jobs, subjectRoots.schedule].map((root) => `${root}.>`),
      ...(["leaders", "consumers"] as const).flatMap((bucket) => [
        ...readsOnly(kvStream(bucket), keysOf(bucket)),
        gets(bucket),
        writes(bucket),
      ]),
    ],
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
      // Who has a job in hand.
      commandSubject("*"),
      rowsSubject,
      repairSubject,
      invokeSubject,
      ...reads(eventsStream),
      ...jobLogs.flatMap(asks),
      ...(["queues", "cancel", "plugins", "pluginKeys", "settings", "processes", "workers"] as const).flatMap(follows),
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
      ...leaders,
    ],
  }),

  worker: () => ({
    publish: [
      ...priorityLevels.flatMap(serveQueues),
      eventBatchSubject("*"),
      scheduleSubjects,
      // Next attempts; and jobs and events of plugins that were granted it.
      ...jobSubjects,
      ...ownedRetries,
      platformSubjects,
      rowsSubject,
      pluginStatsSubject("*"),
      pluginLogSubject("*"),
      purposeInbox("*", "results"),
      purposeInbox("control", "answers"),
      purposeInbox("projector", "answers"),
      ...(["queues", "cancel", "plugins", "pluginKeys", "pluginState", "settings", "consumers"] as const).flatMap(
        follows,
      ),
      tellsItsSettings("worker"),
      gets("crashes"),
      gets("workers"),
      ...(["pluginState", "crashes", "recordings", "consumers", "workers"] as const).map(writes),
      ...compacts("pluginState"),
      ...readsModules(),
    ],
    // Jobs of queues without a consumer: the first one makes it. And leaders of consumers, which know nothing of earlier pulls.
    subscribe: [
      commandAllSubject,
      commandCancelSubject,
      commandSubject("*"),
      invokeSubject,
      `${subjectRoots.jobs}.*.*.>`,
      ...leaders,
      ...priorityLevels.map((level) => consumerElections(jobStream(priorityName(level)))),
    ],
  }),

  projector: () => ({
    publish: [
      eventBatchSubject("*"),
      announcementSubject("*"),
      // What nobody would deliver any more, and what holds up a log's head.
      ...jobSubjects,
      ownedJobSubjects,
      scheduleSubjects,
      ownedScheduleSubjects,
      // Who has a job in hand.
      commandSubject("*"),
      purposeInbox("control", "answers"),
      purposeInbox("worker", "answers"),
      ...reads(eventsStream),
      // Where it has announced to.
      `${api}.STREAM.MSG.GET.${eventsStream}`,
      `${api}.STREAM.PURGE.${eventsStream}`,
      ...jobLogs.flatMap((log) => [...reads(log), ...keeps(log)]),
      ...(["queues", "cancel", "consumers", "eventCursors", "leaders", "settings", "workers"] as const).flatMap(
        follows,
      ),
      ...(["queues", "cancel", "consumers", "leaders"] as const).map(writes),
      ...compacts("cancel"),
      tellsItsSettings("projector"),
    ],
    subscribe: [rowsSubject, repairSubject, ...leaders],
  }),

  scheduler: () => ({
    publish: [
      ...jobSubjects,
      ownedJobSubjects,
      eventBatchSubject("*"),
      ...reads(eventsStream),
      // Plugins that hear of no jobs.
      consumerCreation(eventsStream, platformSubjects),
      ...jobLogs.map(info),
      ...(["plugins", "settings", "eventCursors", "leaders"] as const).flatMap(follows),
      tellsItsSettings("scheduler"),
      ...(["eventCursors", "leaders"] as const).map(writes),
    ],
    // Something is due sooner than the next look at the rows.
    subscribe: [`${subjectRoots.schedule}.>`, ...leaders],
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
    subscribe: leaders,
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
  return [info(stream), ...readsOnly(stream, filter)];
}

function readsOnly(stream: string, filter?: string): string[] {
  return [
    consumerCreation(stream, filter),
    `${api}.CONSUMER.MSG.NEXT.${stream}.*`,
    `${api}.CONSUMER.DELETE.${stream}.*`,
  ];
}

function consumerCreation(stream: string, filter?: string): string {
  return `${api}.CONSUMER.CREATE.${stream}.*${filter === undefined ? "" : `.${filter}`}`;
}

/** Makes the durable consumer of a queue, pulls from it, answers for what came; and looks for queues that something waits for. */
function serveQueues(level: (typeof priorityLevels)[number]): string[] {
  const stream = jobStream(priorityName(level));
  // A wildcard stands for a whole token, so not for the queue in a consumer's name; the filter holds it to a queue.
  return [
    info(stream),
    `${api}.CONSUMER.INFO.${stream}.*`,
    `${api}.CONSUMER.CREATE.${stream}.*.${queueFilter(level, "*")}`,
    `${api}.CONSUMER.MSG.NEXT.${stream}.*`,
    `${api}.CONSUMER.LIST.${stream}`,
    `${api}.STREAM.MSG.GET.${stream}`,
    ...acksTo(stream),
  ];
}

/** Newer brokers name the domain and the account in front of the stream (nats-server 2.14, `js_ack_fc_v2`). */
function acksTo(stream: string): string[] {
  return [`$JS.ACK.${stream}.*.>`, `$JS.ACK.*.*.${stream}.*.>`];
}

/** Sees whether a log is a stream of a former version, and replaces it when it holds no job; or moves its jobs, when told to. */
function replacesFormer(log: string): string[] {
  const copy = copyOf(log);
  return [
    info(copy),
    lockSubject(log),
    `${api}.STREAM.DELETE.${log}`,
    ...["LIST.%", "DELETE.%.*"].map((verb) => `${api}.CONSUMER.${verb.replace("%", log)}`),
    ...["CREATE", "DELETE", "MSG.GET"].map((verb) => `${api}.STREAM.${verb}.${copy}`),
    `${api}.STREAM.MSG.GET.${log}`,
  ];
}

/** Asks a log for a job, and its consumers for what they still have to give. */
function asks(log: string): string[] {
  return [
    info(log),
    `${api}.CONSUMER.LIST.${log}`,
    `${api}.CONSUMER.INFO.${log}.*`,
    `${api}.STREAM.MSG.GET.${log}`,
    `${api}.DIRECT.GET.${log}`,
  ];
}

/** Beside reading it: trims a log, and puts its consumers right. Of all users only the projector's may. */
function keeps(log: string): string[] {
  return [
    // Not before all its jobs are there.
    info(copyOf(log)),
    `${api}.STREAM.PURGE.${log}`,
    `${api}.STREAM.MSG.GET.${log}`,
    `${api}.STREAM.MSG.DELETE.${log}`,
    `${api}.CONSUMER.LIST.${log}`,
    `${api}.CONSUMER.INFO.${log}.*`,
    // A consumer that is made anew keeps its filter.
    `${api}.CONSUMER.CREATE.${log}.*.>`,
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
