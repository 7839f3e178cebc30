import { join } from "node:path";
import { MillraceError } from "@millrace/protocol";
import type { StoreLocation } from "@millrace/store";

/** How the projector runs. */
export interface ProjectorConfig {
  /** Whose cursor it moves; two projectors of one name take turns, and write nothing twice. */
  readonly name: string;
  /** Rows of one transaction, about. */
  readonly rowsPerWrite: number;
  /** Bytes of messages that may wait for one transaction, about. */
  readonly bytesPerWrite: number;
}

export const defaultProjectorConfig: ProjectorConfig = { name: "jobs", rowsPerWrite: 2000, bytesPerWrite: 16 << 20 };

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
