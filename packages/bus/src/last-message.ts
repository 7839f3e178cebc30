import { BusError, natsCodes } from "./bus-error.ts";
import type { JetStreamApi } from "./jetstream-api.ts";

/** A message as a stream holds it. */
export interface LoggedMessage {
  readonly subject: string;
  readonly seq: number;
  /** When the stream stored it, Unix ms. */
  readonly timestampMs: number;
  readonly data: Uint8Array;
  /** The first value of a header, by its exact name. */
  header(name: string): string | undefined;
}

/**
 * The newest message on a subject, or the one at a place. Asked of the stream's leader: what was acknowledged before is seen.
 * @returns undefined when the stream holds none
 * @throws BusError not_found when there is no such stream, and as JetStreamApi.request does
 */
export async function lastMessage(
  api: JetStreamApi,
  stream: string,
  which: { readonly last_by_subj: string } | { readonly seq: number },
): Promise<LoggedMessage | undefined> {
  try {
    const answer = await api.request(`STREAM.MSG.GET.${stream}`, which);
    const message = answer.object("message");
    const block = Buffer.from(message.string("hdrs"), "base64").toString();
    return {
      subject: message.string("subject"),
      seq: message.number("seq"),
      timestampMs: Date.parse(message.string("time")),
      data: new Uint8Array(Buffer.from(message.string("data"), "base64")),
      header: (name) => valueOf(block, name),
    };
  } catch (error) {
    if (error instanceof BusError && error.natsCode === natsCodes.noMessage) return undefined;
    throw error;
  }
}

function valueOf(block: string, name: string): string | undefined {
  const start = block.indexOf(`\r\n${name}:`);
  if (start < 0) return undefined;
  const from = start + name.length + 3;
  return block.slice(from, block.indexOf("\r\n", from)).trim();
}
