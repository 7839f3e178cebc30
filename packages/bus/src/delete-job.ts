import { deriveJobId, parseJobSubject } from "@millrace/protocol";
import type { JetStreamApi } from "./jetstream-api.ts";
import { streamState } from "./stream-state.ts";
import { deleteMessage, getBySeq } from "./sweep-zombies.ts";

/**
 * Takes a job out of the place where it lay when somebody looked. A broker that was killed may have forgotten its newest messages,
 * or a stream was made anew: then the number is another job's, which stays.
 * @returns false when the job is not there
 */
export async function deleteJob(api: JetStreamApi, stream: string, seq: number, id: string): Promise<boolean> {
  const message = await getBySeq(api, stream, seq);
  if (message === undefined) return false;
  const named = parseJobSubject(message.subject)?.id;
  const found = named ?? deriveJobId(stream, (await streamState(api, stream)).createdMs, seq);
  return found === id && deleteMessage(api, stream, seq);
}
