import { readFileSync } from "node:fs";
import { join } from "node:path";
import pg from "pg";
import { findPostgresBinaries, startTestPostgres, type TestPostgres } from "@millrace/store/testing";

/** The checker's PostgreSQL, which can be killed and paused with all of its processes. */
export class DatabaseNode implements AsyncDisposable {
  readonly url: string;
  readonly #server: TestPostgres;
  readonly #folder: string;

  private constructor(server: TestPostgres, folder: string) {
    this.#server = server;
    this.#folder = folder;
    this.url = server.url;
  }

  /** @returns undefined where no PostgreSQL is installed */
  static async start(): Promise<DatabaseNode | undefined> {
    const binaries = findPostgresBinaries();
    if (binaries === undefined) return undefined;
    await using starting = new AsyncDisposableStack();
    const server = starting.use(await startTestPostgres(binaries));
    const client = new pg.Client({ connectionString: server.url });
    await client.connect();
    const { rows } = await client.query<{ data_directory: string }>("SHOW data_directory");
    await client.end();
    starting.move();
    return new DatabaseNode(server, rows[0]?.data_directory ?? "");
  }

  /** Postmaster and backends at once, so that nobody tidies up. */
  async kill9(): Promise<void> {
    this.#signal("SIGKILL");
    await this.#server.stop();
  }

  start(): Promise<void> {
    return this.#server.start();
  }

  pause(): void {
    this.#signal("SIGSTOP");
  }

  resume(): void {
    this.#signal("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
  }

  #signal(signal: NodeJS.Signals): void {
    for (const pid of this.#pids()) {
      try {
        process.kill(pid, signal);
      } catch {
        // A backend that has just ended.
      }
    }
  }

  /** The postmaster first: it must not start anew what dies. */
  #pids(): number[] {
    const postmaster = Number(readFileSync(join(this.#folder, "postmaster.pid"), "utf8").split("\n", 1)[0]);
    const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, "utf8").trim();
    return [
      postmaster,
      ...children
        .split(" ")
        .filter((pid) => pid !== "")
        .map(Number),
    ];
  }
}
