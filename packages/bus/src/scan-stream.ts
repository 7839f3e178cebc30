import { BusError, natsCodes } from "./bus-error.ts";
import type { JetStreamApi } from "./jetstream-api.ts";

/** A message as it is stored, with its header block as it came. */
export interface ScannedMessage {
  readonly subject: string;
  readonly seq: number;
  /** Empty when it has no headers. */
  readonly headerBlock: string;
  readonly data: Uint8Array;
}

/** Messages that are asked for at one time: so many, or so many bytes by the average. */
const windowMessages = 128;
const windowBytes = 8 << 20;

/**
 * Every message of a stream from one sequence to another, in order, a window at a time; by single gets, so that the stream's
 * consumers, of which a work queue allows no second one, are as before.
 * @param averageBytes of a message
 */
export async function* scanStream(
  api: JetStreamApi,
  stream: string,
  range: { readonly fromSeq: number; readonly toSeq: number; readonly averageBytes: number },
): AsyncGenerator<readonly ScannedMessage[], void> {
  const most = Math.max(1, Math.min(windowMessages, Math.floor(windowBytes / Math.max(1, range.averageBytes))));
  for (let seq = Math.max(1, range.fromSeq); seq <= range.toSeq;) {
    const count = Math.min(most, range.toSeq - seq + 1);
    const asked = Array.from({ length: count }, (_, index) => getMessage(api, stream, { seq: seq + index }));
    const found = (await Promise.all(asked)).filter((message) => message !== undefined);
    if (found.length > 0) {
      yield found;
      seq += count;
      continue;
    }
    // Far gaps are where jobs have ended.
    const next = await getMessage(api, stream, { seq, next_by_subj: ">" });
    if (next === undefined) return;
    seq = next.seq;
  }
}

/** @returns undefined when there is no such message @throws BusError not_found when there is no such stream */
export async function getMessage(
  api: JetStreamApi,
  stream: string,
  which: { readonly seq: number; readonly next_by_subj?: string },
): Promise<ScannedMessage | undefined> {
  try {
    const message = (await api.requestPatiently(`STREAM.MSG.GET.${stream}`, which)).object("message");
    return {
      subject: message.string("subject"),
      seq: message.number("seq"),
      headerBlock: Buffer.from(message.string("hdrs"), "base64").toString(),
      data: new Uint8Array(Buffer.from(message.string("data"), "base64")),
    };
  } catch (error) {
    if (error instanceof BusError && error.natsCode === natsCodes.noMessage) return undefined;
    throw error;
  }
}
