/** How the scheduler runs. */
export interface SchedulerConfig {
  /** Longest sleep between two looks at the table, in ms: what was not heard of is seen by then. */
  readonly recheckMs: number;
}

export const defaultSchedulerConfig: SchedulerConfig = { recheckMs: 5_000 };
