import { sql } from "kysely";
import type { Store } from "../store.ts";

/** Tables with their columns, indexes, functions and constraints, one line each; without Kysely's own tables. */
export async function readSchema(store: Store): Promise<string[]> {
  const { rows } = await sql<{ line: string }>`
    SELECT line FROM (
      SELECT concat_ws(' ', 'column', table_name, ordinal_position, column_name, data_type, is_nullable, column_default)
        AS line, table_name AS owner
      FROM information_schema.columns WHERE table_schema = current_schema()
      UNION ALL
      SELECT 'index ' || indexdef, tablename FROM pg_indexes WHERE schemaname = current_schema()
      UNION ALL
      SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(c.oid), t.relname
      FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
      WHERE c.connamespace = current_schema()::regnamespace
      UNION ALL
      SELECT 'function ' || pg_get_functiondef(oid), '' FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
    ) AS parts WHERE owner NOT LIKE 'kysely%' ORDER BY line`.execute(store.db);
  return rows.map((row) => row.line);
}
