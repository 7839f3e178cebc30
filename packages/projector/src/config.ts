import { join } from "node:path";
import {
  ConfigError,
  brokerSettings,
  LiveConfig,
  loadConfig,
  serviceSettings,
  z,
  type ConfigInputs,
} from "@millrace/service-kit";
import type { StoreLocation } from "@millrace/store";

/** How the projector runs. */
export interface ProjectorConfig {
  /** Whose cursor it moves; two projectors of one name take turns, and write nothing twice. */
  readonly name: string;
  /** Rows of one transaction, about; as many as this only come together when far behind. */
  readonly rowsPerWrite: number;
  /** Bytes of messages that may wait for one transaction, about. */
  readonly bytesPerWrite: number;
}

export const defaultProjectorConfig: ProjectorConfig = { name: "jobs", rowsPerWrite: 20_000, bytesPerWrite: 32 << 20 };

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  host: z.string().default("127.0.0.1").describe("Address that health and metrics are served on"),
  opsPort: z.number().int().min(0).max(65_535).default(0).describe("Port of health and metrics; 0 takes a free one"),
  databaseUrl: z.string().optional().meta({ env: "DATABASE_URL", secret: true, description: "A PostgreSQL" }),
  dataDir: z.string().optional().describe("Holds PGlite's data where no PostgreSQL is given"),
});

/** What a process of its own needs to know besides. */
export type ProcessConfig = z.output<typeof schema> & { readonly store: StoreLocation };

/**
 * As it is at the start, and as it changes.
 * @throws ConfigError with all problems at once; one of them, that nothing says where the data lives
 */
export function loadProcessConfig(inputs: ConfigInputs): { readonly config: ProcessConfig; readonly live: LiveConfig } {
  const live = new LiveConfig(schema, loadConfig(schema, inputs));
  return { config: { ...live.values, store: locationOf(live.values) }, live };
}

function locationOf({ databaseUrl, dataDir }: z.output<typeof schema>): StoreLocation {
  if (databaseUrl !== undefined) return { databaseUrl };
  if (dataDir !== undefined) return { dataDir: join(dataDir, "postgres") };
  throw new ConfigError([
    { key: "databaseUrl", origin: "DATABASE_URL", reason: "is required, or MILLRACE_DATA_DIR for PGlite" },
  ]);
}
