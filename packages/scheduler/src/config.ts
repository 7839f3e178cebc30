/** How the scheduler runs. */
export interface SchedulerConfig {
  /** A message that is not stored by then goes to another scheduler. */
  readonly ackWaitMs: number;
  /** Longest sleep between two looks at the table, in ms. */
  readonly recheckMs: number;
}

export const defaultSchedulerConfig: SchedulerConfig = { ackWaitMs: 30_000, recheckMs: 30_000 };
