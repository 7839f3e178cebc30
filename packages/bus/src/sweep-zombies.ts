import {
  deriveJobId,
  headerNames,
  jobStream,
  parseJobSubject,
  priorityNames,
  scheduleStream,
} from "@millrace/protocol";
import { BusError } from "./bus-error.ts";
import { createConsumer } from "./ensure-queue-consumers.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { pause } from "./pause.ts";
import type { PipelinedPublisher } from "./pipelined-publisher.ts";
import { decodeStreamState, listConsumers, type ConsumerState } from "./stream-state.ts";

export interface SweepOptions {
  /** When the broker began to run, Unix ms; what is older was stored by the one before. The bus's own last loss by default. */
  readonly serverStartedMs?: number;
  /** Whether a job is known to be over (its row, its outcome); asked only where the broker's word does not do. */
  readonly isFinished?: (job: { subject: string; stream: string; seq: number; id: string }) => Promise<boolean>;
  /** A message must be found twice, this far apart: its ack may be on the way. */
  readonly settleMs?: number;
}

export interface SweepReport {
  /** Acked before the crash; its delete was lost. */
  readonly deleted: number;
  /** Perhaps never run: stored again at the end of its queue. */
  readonly republished: number;
}

interface StoredMessage {
  readonly subject: string;
  readonly seq: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly data: Uint8Array;
  readonly timestampMs: number;
}

const mostInOneSweep = 100_000;
const decoder = new TextDecoder();

/**
 * Puts right what a `kill -9` of the broker leaves behind in the job streams (seen with 2.9.10): messages that a
 * consumer counts as acked, stored all the same and never to be delivered, counted as `messages − Σ pending − Σ ack_pending > 0`.
 *
 * Such a message is deleted when the broker itself had recorded its ack before it died (it is older than the broker's start), or
 * `isFinished` says so. In doubt it is published again under the same job id, and then deleted: a job may run twice, it is
 * never lost. Messages of a queue that has no consumer yet are waiting, and are left alone.
 */
export async function sweepZombies(
  api: JetStreamApi,
  publisher: PipelinedPublisher,
  options: SweepOptions = {},
): Promise<SweepReport> {
  let deleted = 0;
  let republished = 0;
  for (const stream of [...priorityNames.map(jobStream), scheduleStream]) await turnBackConsumers(api, stream);
  for (const priority of priorityNames) {
    const stream = jobStream(priority);
    const info = await api.requestPatiently(`STREAM.INFO.${stream}`, undefined);
    const state = decodeStreamState(info);
    if (state.messages === 0) continue;
    const consumers = await listConsumers(api, stream);
    const known = consumers.reduce((sum, consumer) => sum + consumer.pending + consumer.ackPending, 0);
    if (state.messages <= known) continue;
    const suspects: number[] = [];
    for (const consumer of consumers) suspects.push(...(await storedAfterTheirTurn(api, stream, consumer)));
    if (suspects.length === 0) continue;
    await pause(options.settleMs ?? 500);
    const diedAtMs = options.serverStartedMs ?? api.link.status.lostAtMs;
    for (const seq of suspects) {
      const message = await getBySeq(api, stream, seq);
      if (message === undefined) continue;
      const id = parseJobSubject(message.subject)?.id ?? deriveJobId(stream, state.createdMs, seq);
      const over =
        message.timestampMs < diedAtMs ||
        ((await options.isFinished?.({ subject: message.subject, stream, seq, id })) ?? false);
      if (!over) await republish(publisher, message, id);
      await deleteMessage(api, stream, seq);
      if (over) deleted++;
      else republished++;
    }
    api.link.logger.warn({ stream, deleted, republished }, "messages that a broker crash left behind put right");
  }
  return { deleted, republished };
}

/**
 * A broker that was killed may count on from before what its consumers have seen (an empty stream falls back to the last block
 * that is left): it would give the next messages old numbers, and the consumers would pass over them. Such a consumer is made
 * anew, and sees all that is stored. What is out with a worker is then delivered once more.
 */
async function turnBackConsumers(api: JetStreamApi, stream: string): Promise<void> {
  for (const consumer of await listConsumers(api, stream)) {
    // Asked in this order: the stream may have grown since, but its end is never behind what was delivered before.
    const { lastSeq } = decodeStreamState(await api.requestPatiently(`STREAM.INFO.${stream}`, undefined));
    if (consumer.deliveredSeq <= lastSeq) continue;
    const info = await api.find(`CONSUMER.INFO.${stream}.${consumer.name}`);
    if (info === undefined) continue;
    const config = info.object("config").raw();
    await api.requestPatiently(`CONSUMER.DELETE.${stream}.${consumer.name}`, undefined);
    await createConsumer(api, stream, { ...config, durable_name: consumer.name, filter_subject: consumer.filter });
    const { deliveredSeq } = consumer;
    api.link.logger.warn({ stream, consumer: consumer.name, deliveredSeq, lastSeq }, "consumer was ahead: made anew");
  }
}

/** What the consumer will not deliver again. With nothing out, its floor may lag behind: then all that it has delivered. */
async function storedAfterTheirTurn(api: JetStreamApi, stream: string, consumer: ConsumerState): Promise<number[]> {
  const end = consumer.ackPending === 0 ? Math.max(consumer.ackFloorSeq, consumer.deliveredSeq) : consumer.ackFloorSeq;
  const found: number[] = [];
  for (let seq = 1; seq <= end && found.length < mostInOneSweep;) {
    const answer = await api.find(`STREAM.MSG.GET.${stream}`, { seq, next_by_subj: consumer.filter });
    if (answer === undefined) break;
    const at = answer.object("message").number("seq");
    if (at === 0 || at > end) break;
    found.push(at);
    seq = at + 1;
  }
  return found;
}

export async function getBySeq(api: JetStreamApi, stream: string, seq: number): Promise<StoredMessage | undefined> {
  const answer = await api.find(`STREAM.MSG.GET.${stream}`, { seq });
  if (answer === undefined) return undefined;
  const message = answer.object("message");
  const lines = decoder
    .decode(Buffer.from(message.string("hdrs"), "base64"))
    .split("\r\n")
    .slice(1);
  return {
    subject: message.string("subject"),
    seq: message.number("seq"),
    headers: lines.flatMap((line): [string, string][] => {
      const colon = line.indexOf(":");
      return colon > 0 ? [[line.slice(0, colon), line.slice(colon + 1).trim()]] : [];
    }),
    data: new Uint8Array(Buffer.from(message.string("data"), "base64")),
    timestampMs: Date.parse(message.string("time")),
  };
}

async function republish(publisher: PipelinedPublisher, message: StoredMessage, id: string): Promise<void> {
  const job = parseJobSubject(message.subject);
  // An id that came from the old place must stay with the job.
  const subject = job !== undefined && job.id === undefined ? `${message.subject}.${id}` : message.subject;
  // Under its own message id the duplicate window would take it for stored already.
  const headers = message.headers.filter(([name]) => name !== headerNames.messageId);
  const messageId = `${id}:swept:${message.seq}`;
  await publisher.publish({ subject, data: message.data, headers: [[headerNames.messageId, messageId], ...headers] });
}

/** @returns false when there is no such message */
export async function deleteMessage(api: JetStreamApi, stream: string, seq: number): Promise<boolean> {
  try {
    await api.requestPatiently(`STREAM.MSG.DELETE.${stream}`, { seq, no_erase: true });
    return true;
  } catch (error) {
    const missing = error instanceof BusError && /no message found|not found/i.test(error.message);
    if (missing) return false;
    throw error;
  }
}
