import { join } from "node:path";
import { ConfigError, brokerSettings, loadConfig, serviceSettings, z, type ConfigInputs } from "@millrace/service-kit";
import type { StoreLocation } from "@millrace/store";

/** How the scheduler runs. */
export interface SchedulerConfig {
  /** A message that is not stored by then goes to another scheduler. */
  readonly ackWaitMs: number;
  /** Longest sleep between two looks at the table, in ms. */
  readonly recheckMs: number;
}

export const defaultSchedulerConfig: SchedulerConfig = { ackWaitMs: 30_000, recheckMs: 30_000 };

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  /** Where health and metrics are served. */
  host: z.string().default("127.0.0.1"),
  /** 0 picks a free port. */
  opsPort: z.number().int().min(0).max(65_535).default(0),
  databaseUrl: z.string().optional().meta({ env: "DATABASE_URL", secret: true }),
  /** Holds PGlite's data where no PostgreSQL is given. */
  dataDir: z.string().optional(),
});

/** What a process of its own needs to know besides. */
export type ProcessConfig = z.output<typeof schema> & { readonly store: StoreLocation };

/** @throws ConfigError with all problems at once; one of them, that nothing says where the data lives */
export function readProcessConfig(inputs: ConfigInputs): ProcessConfig {
  const { values } = loadConfig(schema, inputs);
  if (values.databaseUrl !== undefined) return { ...values, store: { databaseUrl: values.databaseUrl } };
  if (values.dataDir !== undefined) return { ...values, store: { dataDir: join(values.dataDir, "postgres") } };
  throw new ConfigError([
    { key: "databaseUrl", origin: "DATABASE_URL", reason: "is required, or MILLRACE_DATA_DIR for PGlite" },
  ]);
}
