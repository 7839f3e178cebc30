import type { JobHandler } from "@millrace/worker";

/** A well-behaved native handler, in the worker that runs hostile plugins. */
export const handlers: Record<string, JobHandler> = {
  native: async (job) => ({ payload: job.text() }),
};
