import { mkdir } from "node:fs/promises";
import pg from "pg";
import { Connections } from "./connections.ts";
import { lockDataDir } from "./lock-data-dir.ts";
import { PgliteProcess } from "./pglite-process.ts";
import type { StatementScope } from "./scoped-pool.ts";

/** Connections of one process to a server. */
const defaultPoolSize = 8;
/** A caller that gets no connection by then hears `unavailable`. */
const connectTimeoutMs = 5000;
/** The server gives a statement up by then; the client a little later, for a server that went silent. */
const statementTimeoutMs = 30_000;
const queryTimeoutMs = 35_000;
/** A pool that closes waits so long for statements that run, and for the database to close its connections; then they are cut. */
const closeWaitMs = 2000;

const INT8 = 20;

// As pg's defaults, but for bigint: all of ours stay below 2^53.
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format: "text" | "binary") =>
    oid === INT8 && format !== "binary"
      ? Number
      : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

export interface OpenPool extends AsyncDisposable {
  readonly pool: pg.Pool;
  /** What Store's statements run in; not what is sent to the pool itself. */
  readonly scope?: StatementScope;
  /** One more, without a bound on the time of a statement, for who ends it. Of a server only. */
  readonly openPatient?: () => pg.Pool;
}

export interface PoolOptions {
  readonly poolSize?: number | undefined;
  /** Undefined: the first of the role's search path, `public` as a rule. */
  readonly schema?: string | undefined;
}

/** A pool to a server. Idle connections that break are replaced, and never fail the process. */
export function openServerPool(databaseUrl: string, options: PoolOptions = {}): OpenPool {
  const { poolSize = defaultPoolSize, schema } = options;
  // Nothing that PgBouncer refuses at the start of a connection: the scope is told afterwards.
  const patient = {
    connectionString: databaseUrl,
    connectionTimeoutMillis: connectTimeoutMs,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    application_name: "millrace",
  };
  const connections = new Connections();
  const pool = quietPool({ ...patient, max: poolSize, query_timeout: queryTimeoutMs }, connections);
  return {
    pool,
    scope: { schema, timeoutMs: statementTimeoutMs },
    openPatient: () => quietPool({ ...patient, max: 2 }, connections),
    [Symbol.asyncDispose]: () => connections.end(pool, closeWaitMs),
  };
}

/**
 * PGlite in a thread of its own, behind a pool of its one session.
 * @param dataDir a folder of its own, created when missing, or `memory://`
 */
export async function openPglitePool(dataDir: string): Promise<OpenPool> {
  const inMemory = dataDir.startsWith("memory://");
  if (!inMemory) await mkdir(dataDir, { recursive: true });
  const lock = inMemory ? undefined : await lockDataDir(dataDir);
  const pglite = new PgliteProcess({ dataDir });
  const connections = new Connections();
  const session = {
    stream: () => pglite.openSocket(),
    max: 1,
    user: "postgres",
    database: "postgres",
    // Its one session is shared by all callers, and the first one waits for PGlite to start.
    connectionTimeoutMillis: queryTimeoutMs,
    query_timeout: queryTimeoutMs,
    idleTimeoutMillis: 0,
  };
  const pool = quietPool(session, connections);
  return {
    pool,
    async [Symbol.asyncDispose]() {
      await connections.end(pool, closeWaitMs);
      await pglite[Symbol.asyncDispose]();
      await lock?.[Symbol.asyncDispose]();
    },
  };
}

function quietPool(config: pg.PoolConfig, connections: Connections): pg.Pool {
  const pool = new pg.Pool({ ...config, types });
  connections.follow(pool);
  // An idle connection broke. Nobody waits for it: the next query opens another, and tells its caller what it finds.
  pool.on("error", () => undefined);
  // The same for one that is in use, between two statements of a transaction: its next statement fails.
  pool.on("connect", (client) => client.on("error", () => undefined));
  return pool;
}
