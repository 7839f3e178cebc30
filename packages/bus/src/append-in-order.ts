import { BusError } from "./bus-error.ts";
import { expectedSequence } from "./former-streams.ts";
import type { JetStreamApi } from "./jetstream-api.ts";
import { PublishAck, publishError } from "./publish-ack.ts";
import { encodeLines, messageIdOf, type MovedMessage } from "./upgrade-message.ts";

const timeoutMs = 10_000;
const expectedMessageId = "Nats-Expected-Last-Msg-Id";

/**
 * Publishes messages, each on the condition that it becomes the next one of its stream, behind the one before it: whatever gets lost,
 * comes late or comes from elsewhere (and takes a place), none is stored twice, and none after one that is missing.
 * @param lastSeq of the stream
 * @throws BusError aborted when it ends elsewhere; then, and after every other error, some of them may be stored, the first ones
 */
export async function appendInOrder(
  api: JetStreamApi,
  messages: readonly MovedMessage[],
  lastSeq: number,
): Promise<void> {
  const answers = await Promise.allSettled(
    messages.map(async ({ subject, headerLines, data }, index) => {
      const before = messages[index - 1];
      const conditions = [
        `${expectedSequence}: ${lastSeq + index}`,
        ...(before === undefined ? [] : [`${expectedMessageId}: ${messageIdOf(before)}`]),
      ];
      const headers = encodeLines([...conditions, ...headerLines]);
      const answer = await api.mux.request(subject, data, { timeoutMs, headers });
      const error = publishError(subject, answer.data);
      if (error !== undefined) throw error;
      const { seq } = new PublishAck(answer.data);
      // One that was sent before, and whose answer was lost.
      if (seq !== lastSeq + index + 1) throw new BusError("aborted", `${subject}: stored as ${seq} by an earlier try`);
    }),
  );
  const failed = answers.find((answer) => answer.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/**
 * Publishes one message, wherever its stream ends. Sent again within the stream's duplicate window, it is stored once.
 * @returns its sequence
 */
export async function append(api: JetStreamApi, { subject, headerLines, data }: MovedMessage): Promise<number> {
  const answer = await api.mux.request(subject, data, { timeoutMs, headers: encodeLines(headerLines) });
  const error = publishError(subject, answer.data);
  if (error !== undefined) throw error;
  return new PublishAck(answer.data).seq;
}
