import type { PostgresCursor, PostgresPool, PostgresPoolClient, PostgresQueryResult } from "kysely";
import pg from "pg";
import { ScopedQuery } from "./scoped-query.ts";

/** What pg's clients say when there was no answer within `query_timeout`; it has no code. */
const readTimeout = "Query read timeout";

/** What holds for every statement. */
export interface StatementScope {
  /** Where tables and functions without a schema in front are, and nowhere else; undefined: as the role has it. */
  readonly schema?: string | undefined;
  /** The server gives a statement up by then; undefined: as the role has it. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Sees to it that every statement runs in its scope. A session of our own is told once. Behind a pooler such as PgBouncer there is none:
 * in transaction mode each transaction may meet another session, and what a client says at the start is refused or dropped. There each
 * transaction is told for itself, without a round trip more, and nothing is left behind in sessions that others use too.
 */
export function scopedPool(pool: pg.Pool, scope: StatementScope): PostgresPool {
  // Kysely knows a connection again by its client.
  const scoped = new WeakMap<pg.PoolClient, ScopedClient>();
  return {
    options: pool.options,
    async connect() {
      const client = await pool.connect();
      try {
        const known = scoped.get(client) ?? (await ScopedClient.open(client, scope));
        scoped.set(client, known);
        return known;
      } catch (error) {
        client.release(true);
        throw error;
      }
    },
    end: () => pool.end(),
  };
}

class ScopedClient implements PostgresPoolClient {
  readonly #client: pg.PoolClient;
  /** Goes before each transaction; undefined for a session that has been told. */
  readonly #first: string | undefined;
  #isStuck = false;

  private constructor(client: pg.PoolClient, first: string | undefined) {
    this.#client = client;
    this.#first = first;
  }

  /** Finds out whether the session is the client's own: a pooler makes up the number of the process that it tells. */
  static async open(client: pg.PoolClient, scope: StatementScope): Promise<ScopedClient> {
    // pg's types do not know it. PostgreSQL's numbers are above zero.
    const { processID: pid = 0 } = client as { readonly processID?: number | null };
    const { rowCount } = await client.query(
      `SELECT ${settingsOf(scope, "session")} WHERE pg_backend_pid() = ${pid ?? 0}`,
    );
    if (rowCount === 1) return new ScopedClient(client, undefined);
    // Without a row, as what it answers with is nobody's.
    return new ScopedClient(client, `SELECT 1 WHERE ${settingsOf(scope, "transaction")} IS NULL`);
  }

  query<R>(text: string, values: readonly unknown[]): Promise<PostgresQueryResult<R>>;
  query<R>(cursor: PostgresCursor<R>): PostgresCursor<R>;
  query<R>(
    text: string | PostgresCursor<R>,
    values: readonly unknown[] = [],
  ): Promise<PostgresQueryResult<R>> | PostgresCursor<R> {
    if (typeof text !== "string") throw new TypeError("cursors are not supported");
    const first = this.#first;
    // Kysely has one statement at a time on a client, so this is what the statement will find.
    if (first === undefined || this.#client.getTransactionStatus() !== "I")
      return this.#watch(this.#send<R>(text, values));
    if (values.length > 0) return this.#watch(this.#sendScoped<R>(first, text, values));
    const starts = /^(?:begin|start transaction)\b/.test(text);
    return this.#watch(this.#send<R>(starts ? `${text}; ${first}` : `${first}; ${text}`, [], starts ? 0 : 1));
  }

  release(destroy = false): void {
    this.#client.release(destroy || this.#isStuck);
  }

  /** The pool would lend a client again that still waits for an answer, and whoever comes next would wait behind it. */
  async #watch<R>(answer: Promise<R>): Promise<R> {
    try {
      return await answer;
    } catch (error) {
      this.#isStuck ||= error instanceof Error && error.message === readTimeout;
      throw error;
    }
  }

  /** @param which of the results of several statements in one text */
  async #send<R>(text: string, values: readonly unknown[], which = 0): Promise<PostgresQueryResult<R>> {
    const result: unknown = await this.#client.query(text, [...values]);
    return (Array.isArray(result) ? result[which] : result) as PostgresQueryResult<R>;
  }

  #sendScoped<R>(first: string, text: string, values: readonly unknown[]): Promise<PostgresQueryResult<R>> {
    return new Promise((resolve, reject) => {
      this.#client.query(
        new ScopedQuery(first, {
          text,
          values,
          callback: (error, result) => (error ? reject(error) : resolve(result as PostgresQueryResult<R>)),
        }),
      );
    });
  }
}

function settingsOf({ schema, timeoutMs }: StatementScope, extent: "session" | "transaction"): string {
  const set = (name: string, value: string): string =>
    `set_config('${name}', ${pg.escapeLiteral(value)}, ${extent === "transaction"})`;
  const settings = [
    ...(schema === undefined ? [] : [set("search_path", pg.escapeIdentifier(schema))]),
    ...(timeoutMs === undefined ? [] : [set("statement_timeout", String(timeoutMs))]),
  ];
  // Not concatenated nothing: a scope may be empty.
  return ["''", ...settings].join(" || ");
}
