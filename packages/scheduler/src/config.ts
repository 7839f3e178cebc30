import { join } from "node:path";
import { MillraceError } from "@millrace/protocol";
import type { StoreLocation } from "@millrace/store";

/** How the scheduler runs. */
export interface SchedulerConfig {
  /** A message that is not stored by then goes to another scheduler. */
  readonly ackWaitMs: number;
  /** Longest sleep between two looks at the table, in ms. */
  readonly recheckMs: number;
}

export const defaultSchedulerConfig: SchedulerConfig = { ackWaitMs: 30_000, recheckMs: 30_000 };

/** What a process of its own needs to know besides. */
export interface ProcessConfig {
  readonly natsUrl: string;
  readonly store: StoreLocation;
}

/**
 * Reads NATS_URL and DATABASE_URL, or MILLRACE_DATA_DIR for PGlite where no server is given.
 * @throws MillraceError `invalid_argument` when neither says where the data lives
 */
export function readProcessConfig(env: Readonly<Record<string, string | undefined>>): ProcessConfig {
  const natsUrl = env["NATS_URL"] || "nats://127.0.0.1:4222";
  const databaseUrl = env["DATABASE_URL"];
  if (databaseUrl) return { natsUrl, store: { databaseUrl } };
  const dataDir = env["MILLRACE_DATA_DIR"];
  if (!dataDir) throw new MillraceError("invalid_argument", "set DATABASE_URL, or MILLRACE_DATA_DIR");
  return { natsUrl, store: { dataDir: join(dataDir, "postgres") } };
}
