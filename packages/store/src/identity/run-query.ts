import type { Kysely } from "kysely";
import type { Schema } from "../schema.ts";

/** Runs work on the database with errors translated, as Store does. */
export type RunQuery = <T>(work: (db: Kysely<Schema>) => Promise<T>) => Promise<T>;
