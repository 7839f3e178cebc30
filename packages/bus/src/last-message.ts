import { BusError, natsCodes } from "./bus-error.ts";
import { messageStatusOf } from "./bus-message.ts";
import type { JetStreamApi } from "./jetstream-api.ts";

/** After which a stream's leader is asked instead. */
const refusals: ReadonlySet<string> = new Set(["unavailable", "permission_denied", "deadline_exceeded"]);

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
 * The newest message on a subject, which may have wildcards, or the one at a place. Asked of the stream's leader: what was
 * acknowledged before is seen.
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

const directWithinMs = 5000;
const encoder = new TextEncoder();

/**
 * Whether a stream holds a message on a subject, which may have wildcards. Asked directly, which is several times cheaper, where one broker
 * has the stream; in a cluster a copy may be behind what was acknowledged, so there the leader is asked.
 * @throws BusError as lastMessage does
 */
export async function holdsSubject(api: JetStreamApi, stream: string, subject: string): Promise<boolean> {
  const which = { last_by_subj: subject };
  if (api.link.client.info?.cluster !== undefined) return (await lastMessage(api, stream, which)) !== undefined;
  try {
    const { namespace } = api.link;
    const question = encoder.encode(JSON.stringify(namespace === undefined ? which : namespace.request(which)));
    const options = { timeoutMs: directWithinMs };
    const answer = await api.mux.request(`$JS.API.DIRECT.GET.${stream}`, question, options);
    const status = messageStatusOf(answer);
    if (status === undefined) return true;
    if (status.code === 404) return false;
    throw new BusError("internal", `get ${subject}: ${status.code} ${status.text}`);
  } catch (error) {
    // A stream that answers nobody directly, as those are that an older version made, or the broker's user may not ask so. Of one that is
    // not there 2.9 says nothing.
    const isRefused = error instanceof BusError && refusals.has(error.code);
    if (!isRefused || !api.link.connected) throw error;
    return (await lastMessage(api, stream, which)) !== undefined;
  }
}

function valueOf(block: string, name: string): string | undefined {
  const start = block.indexOf(`\r\n${name}:`);
  if (start < 0) return undefined;
  const from = start + name.length + 3;
  return block.slice(from, block.indexOf("\r\n", from)).trim();
}
