/** How the projector runs. Durations in ms, sizes in bytes. */
export interface ProjectorConfig {
  /** Whose cursors it moves. Of several projectors of one name one leads, and the others stand by. */
  readonly name: string;
  /** Rows of one transaction, about; as many as this only come together when far behind. */
  readonly rowsPerWrite: number;
  /** Bytes of messages that may wait for one transaction, about. */
  readonly bytesPerWrite: number;
  /** Between two looks at what may leave the logs: each purge makes their consumers begin their redeliveries anew. */
  readonly trimEveryMs: number;
  /** What is younger stays in its log: the duplicate window survives a restart of the broker. At least the lag of a standby of the database. */
  readonly keepYoungMs: number;
  /** Between two looks for jobs that nobody would deliver any more. */
  readonly reconcileEveryMs: number;
  /**
   * A job at the head of a log that waits for so long, as its queue is paused or unserved, is published again at the end. Behind one that
   * somebody has in hand for so long, finished ones are deleted singly.
   */
  readonly moveAfterMs: number;
  /** With more than 200 queues, those that nothing came for in so long lose their consumers. */
  readonly consumerIdleMs: number;
  /** Overrides the lease of the queues' consumers, after which a job that nobody holds counts as stranded; 0: as the consumers say. */
  readonly leaseMs: number;
  /** A row without a submission, of which nothing was heard for so long, ends as SUBMISSION_LOST. */
  readonly stubMs: number;
}

export const defaultProjectorConfig: ProjectorConfig = {
  name: "jobs",
  rowsPerWrite: 20_000,
  bytesPerWrite: 32 << 20,
  trimEveryMs: 10_000,
  keepYoungMs: 30_000,
  reconcileEveryMs: 30_000,
  moveAfterMs: 60_000,
  consumerIdleMs: 60_000,
  leaseMs: 0,
  stubMs: 3_600_000,
};
