import type { Kysely } from "kysely";
import type { Schema } from "./schema.ts";

/** Runs work on the database; what fails is one of the contract's errors. */
export type RunQuery = <T>(work: (db: Kysely<Schema>) => Promise<T>) => Promise<T>;
