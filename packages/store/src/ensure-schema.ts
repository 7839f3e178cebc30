import { MillraceError } from "@millrace/protocol";
import { sql, type Transaction } from "kysely";
import pg from "pg";
import type { Schema } from "./schema.ts";

interface Found {
  readonly role: string;
  readonly database: string;
  /** Null where the role's search path leads nowhere. */
  readonly name: string | null;
  readonly exists: boolean;
  readonly usable: boolean;
  readonly creatable: boolean;
  /** Whether the role may make schemas. */
  readonly may_make: boolean;
  /** Migrations have been here before. */
  readonly migrated: boolean;
}

/**
 * Makes the schema when it is missing.
 * @param wanted undefined: the first one of the role's search path, `public` as a rule
 * @returns its name
 * @throws MillraceError `failed_precondition` that says what to grant
 */
export async function ensureSchema(transaction: Transaction<Schema>, wanted: string | undefined): Promise<string> {
  const { rows } = await sql<Found>`
    SELECT current_user AS role, current_database() AS database, w.name, n.oid IS NOT NULL AS exists,
      coalesce(has_schema_privilege(n.oid, 'USAGE'), false) AS usable,
      coalesce(has_schema_privilege(n.oid, 'CREATE'), false) AS creatable,
      has_database_privilege(current_database(), 'CREATE') AS may_make,
      EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'kysely_migration') AS migrated
    FROM (SELECT coalesce(${wanted ?? null}::text, current_schema()::text) AS name) AS w
    LEFT JOIN pg_namespace n ON n.nspname = w.name`.execute(transaction);
  const found = rows[0];
  if (found === undefined) throw new Error("no answer about the schema");
  const { name } = found;
  if (name === null) {
    throw refused(`the role ${quoted(found.role)} may use no schema of its search path`, grantOn("public", found.role));
  }
  if (!found.exists) {
    if (!found.may_make) {
      const owned = `CREATE SCHEMA ${quoted(name)} AUTHORIZATION ${quoted(found.role)}`;
      throw refused(
        `there is no schema ${quoted(name)}, and the role ${quoted(found.role)} may not make it`,
        `${owned}, or GRANT CREATE ON DATABASE ${quoted(found.database)} TO ${quoted(found.role)}`,
      );
    }
    await sql`CREATE SCHEMA ${sql.id(name)}`.execute(transaction);
    return name;
  }
  if (!found.usable || !(found.creatable || found.migrated)) {
    const rights = `the role ${quoted(found.role)} may not make tables in the schema ${quoted(name)}`;
    throw refused(rights, grantOn(name, found.role));
  }
  return name;
}

const insufficientPrivilege = "42501";

/** What a migration failed of: tables that somebody else owns, or a schema that may be used but not changed. */
export function wordsForRights(error: unknown, schema: string): unknown {
  if (!(error instanceof pg.DatabaseError) || error.code !== insufficientPrivilege) return error;
  return new MillraceError(
    "failed_precondition",
    `the database refused a migration: ${error.message}; the role has to own the tables in the schema ${quoted(schema)}, and needs CREATE there`,
    { cause: error },
  );
}

function grantOn(schema: string, role: string): string {
  return `GRANT USAGE, CREATE ON SCHEMA ${quoted(schema)} TO ${quoted(role)}`;
}

function refused(what: string, remedy: string): MillraceError {
  return new MillraceError(
    "failed_precondition",
    `${what}: let an administrator of the database run ${remedy}; MILLRACE_DATABASE_SCHEMA names another schema`,
  );
}

const quoted = (name: string): string => pg.escapeIdentifier(name);
