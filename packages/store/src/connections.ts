import type pg from "pg";

/** Of pg's clients what its types leave out. */
interface WithStream {
  readonly connection?: { readonly stream?: { destroy(): void } };
}

/** The connections of pools that are open, so that they can be cut when a database does not let go of them. */
export class Connections {
  readonly #open = new Set<pg.PoolClient>();
  #waiting: (() => void)[] = [];

  follow(pool: pg.Pool): void {
    pool.on("connect", (client) => void this.#open.add(client));
    pool.on("remove", (client) => {
      this.#open.delete(client);
      if (this.#open.size === 0) for (const resolve of this.#waiting.splice(0)) resolve();
    });
  }

  /** Ends a pool. What is not closed after so long is cut: statements that run fail. */
  async end(pool: pg.Pool, patienceMs: number): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, patienceMs);
    await Promise.race([Promise.all([pool.end(), this.#whenNone()]), late]);
    clearTimeout(timer);
    for (const client of this.#open) (client as WithStream).connection?.stream?.destroy();
  }

  #whenNone(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
