import { fromBinary } from "@bufbuild/protobuf";
import { EventBatchSchema, eventName, eventsStream, subjectRoots } from "@millrace/protocol";
import { AckPolicy, connect, DeliverPolicy, type JetStreamManager } from "nats";
import type { ConsumerBacklog, HeardEvent } from "./evidence.ts";

const batchMessages = 500;

/** What the broker holds in the end. */
export interface BrokerContents {
  readonly stored: readonly HeardEvent[];
  readonly storedWhole: boolean;
  readonly backlogs: readonly ConsumerBacklog[];
}

/**
 * What the queues' consumers still have to give, and all of EVENTS, first to last, by a plain pull consumer.
 * @param withEvents without, `stored` is empty
 */
export async function readBroker(servers: readonly string[], withEvents = true): Promise<BrokerContents> {
  const connection = await connect({ servers: [...servers], timeout: 10_000 });
  try {
    const manager = await connection.jetstreamManager();
    const backlogs = await readBacklogs(manager);
    if (!withEvents) return { stored: [], storedWhole: false, backlogs };
    const { state } = await manager.streams.info(eventsStream);
    const stored: HeardEvent[] = [];
    const { name } = await manager.consumers.add(eventsStream, {
      ack_policy: AckPolicy.None,
      deliver_policy: DeliverPolicy.All,
      inactive_threshold: 60 * 1_000_000_000,
      mem_storage: true,
    });
    const consumer = await connection.jetstream().consumers.get(eventsStream, name);
    for (let lastSeq = 0; lastSeq < state.last_seq;) {
      const messages = await consumer.fetch({ max_messages: batchMessages, expires: 10_000 });
      const before = lastSeq;
      for await (const message of messages) {
        lastSeq = message.seq;
        stored.push(...eventsOf(message.subject, message.data, message.seq));
        if (lastSeq >= state.last_seq) break;
      }
      if (lastSeq === before) throw new Error(`EVENTS gives nothing after ${before} of ${state.last_seq}`);
    }
    await manager.consumers.delete(eventsStream, name);
    return { stored, storedWhole: state.first_seq <= 1, backlogs };
  } finally {
    await connection.close();
  }
}

/** What is told of submissions is looked at where watchers hear it. */
function eventsOf(subject: string, data: Uint8Array, seq: number): HeardEvent[] {
  if (!subject.startsWith(`${subjectRoots.batch}.`)) return [];
  return fromBinary(EventBatchSchema, data).events.map(({ jobId, kind, run, attempt, atMs }, index) => ({
    jobId,
    kind: eventName(kind),
    // An event that says nothing is of the first.
    run: run || 1,
    attempt,
    atMs,
    position: `${seq}.${index}`,
  }));
}

async function readBacklogs(manager: JetStreamManager): Promise<ConsumerBacklog[]> {
  const backlogs: ConsumerBacklog[] = [];
  for await (const { config } of manager.streams.list()) {
    if (!config.name.startsWith("JOBS_")) continue;
    for await (const info of manager.consumers.list(config.name)) {
      backlogs.push({
        stream: config.name,
        consumer: info.name,
        pending: info.num_pending,
        ackPending: info.num_ack_pending,
      });
    }
  }
  return backlogs;
}
