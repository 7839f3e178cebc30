import pg from "pg";

// What pg's types leave out of its Query; clients of other kinds, such as pg-cursor, build on the same.
interface QueryParts extends pg.Submittable {
  prepare(connection: pg.Connection): void;
  handleCommandComplete(message: unknown, connection: pg.Connection): void;
}

interface QueryInput {
  readonly text: string;
  readonly values: readonly unknown[];
  readonly queryMode: "extended";
  readonly callback: (error: Error | undefined, result: unknown) => void;
}

const Query = pg.Query as unknown as new (input: QueryInput) => QueryParts;

/**
 * One statement with another in front of it, which has no rows, in one message to the server and one answer: up to their common Sync they
 * are one transaction, so that what the first sets for its transaction holds for the second
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING).
 */
export class ScopedQuery extends Query {
  readonly #first: string;
  #firstIsDone = false;

  constructor(first: string, input: Omit<QueryInput, "queryMode">) {
    super({ ...input, queryMode: "extended" });
    this.#first = first;
  }

  override prepare(connection: pg.Connection): void {
    connection.parse({ name: "", text: this.#first, types: [] }, true);
    connection.bind({ values: [] }, true);
    connection.execute({}, true);
    super.prepare(connection);
  }

  override handleCommandComplete(message: unknown, connection: pg.Connection): void {
    if (this.#firstIsDone) super.handleCommandComplete(message, connection);
    else this.#firstIsDone = true;
  }
}
