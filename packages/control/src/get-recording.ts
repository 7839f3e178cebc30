import { fromBinary } from "@bufbuild/protobuf";
import { isJobId, MillraceError, RecordingSchema, type GetRecordingRequest, type Recording } from "@millrace/protocol";
import type { ControlContext } from "./control-context.ts";

/** @throws MillraceError not_found: the job did not fail in a plugin, or too long ago */
export async function getRecording(
  context: ControlContext,
  { jobId }: GetRecordingRequest,
): Promise<{ recording: Recording }> {
  const entry = isJobId(jobId) ? await context.bus.kv("recordings").get(jobId) : undefined;
  if (entry === undefined) throw new MillraceError("not_found", `no recording of job ${JSON.stringify(jobId)}`);
  try {
    return { recording: fromBinary(RecordingSchema, entry.value) };
  } catch (error) {
    throw new MillraceError("data_loss", `the recording of job ${jobId} does not decode`, { cause: error });
  }
}
