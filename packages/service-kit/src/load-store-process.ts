import { join } from "node:path";
import { brokerSettings } from "./broker-settings.ts";
import { ConfigError } from "./config-error.ts";
import { databaseSettings } from "./database-settings.ts";
import { LiveConfig } from "./live-config.ts";
import { loadConfig, type ConfigInputs } from "./load-config.ts";
import { serviceSettings } from "./service-settings.ts";
import { z } from "zod";

const schema = z.object({
  ...serviceSettings,
  ...brokerSettings,
  host: z.string().default("127.0.0.1").describe("Address that health and metrics are served on"),
  opsPort: z.number().int().min(0).max(65_535).default(0).describe("Port of health and metrics; 0 takes a free one"),
  databaseUrl: z.string().optional().meta({ env: "DATABASE_URL", secret: true, description: "A PostgreSQL" }),
  ...databaseSettings,
  dataDir: z.string().optional().describe("Holds PGlite's data where no PostgreSQL is given"),
});

/** What a process needs to know that works between the broker and the database, and is called by nobody. */
export type StoreProcess = z.output<typeof schema> & {
  /** A server, or PGlite's folder. */
  readonly store: { readonly databaseUrl: string; readonly schema: string | undefined } | { readonly dataDir: string };
};

/**
 * As it is at the start, and as it changes.
 * @throws ConfigError with all problems at once; one of them, that nothing says where the data lives
 */
export function loadStoreProcess(inputs: ConfigInputs): { readonly config: StoreProcess; readonly live: LiveConfig } {
  const live = new LiveConfig(schema, loadConfig(schema, inputs));
  return { config: { ...live.values, store: locationOf(live.values) }, live };
}

function locationOf({ databaseUrl, databaseSchema, dataDir }: z.output<typeof schema>): StoreProcess["store"] {
  if (databaseUrl !== undefined) return { databaseUrl, schema: databaseSchema };
  if (databaseSchema !== undefined) {
    throw new ConfigError([
      { key: "databaseUrl", origin: "DATABASE_URL", reason: "is required with MILLRACE_DATABASE_SCHEMA" },
    ]);
  }
  if (dataDir !== undefined) return { dataDir: join(dataDir, "postgres") };
  throw new ConfigError([
    { key: "databaseUrl", origin: "DATABASE_URL", reason: "is required, or MILLRACE_DATA_DIR for PGlite" },
  ]);
}
