import type { OutgoingMessage } from "@millrace/bus";
import { attemptOfVersion, jobAnew, jobVersion, JobState, moveOfVersion, runOfVersion } from "@millrace/protocol";
import type { DueJob } from "@millrace/store";

export interface ReleaseMessage {
  readonly message: OutgoingMessage;
  /** Of the place that it gets: the job's version once it is queued there. */
  readonly placeVersion: number;
}

/** The message by which a waiting job goes on to its log: as its publisher sent it, at the run, attempt and move of its row. */
export function releaseMessage(job: DueJob): ReleaseMessage {
  const { version, payload } = job;
  const run = runOfVersion(version);
  const attempt = attemptOfVersion(version);
  const move = moveOfVersion(version);
  return {
    message: { ...jobAnew({ ...job, run, attempt, move }), data: payload },
    placeVersion: jobVersion({ run, attempt, move, state: JobState.QUEUED }),
  };
}
