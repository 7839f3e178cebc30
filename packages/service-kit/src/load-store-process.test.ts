import { describe, expect, test } from "vitest";
import { loadStoreProcess } from "./load-store-process.ts";

const databaseUrl = "postgres://u:p@h/d";

function load(env: Record<string, string>) {
  return loadStoreProcess({ env: { DATABASE_URL: databaseUrl, ...env }, argv: [] }).config.store;
}

describe("where the data lives", () => {
  test("in a schema of a server, or where the role has it", () => {
    expect(load({})).toEqual({ databaseUrl, schema: undefined });
    expect(load({ MILLRACE_DATABASE_SCHEMA: "acme_1" })).toEqual({ databaseUrl, schema: "acme_1" });
    expect(load({ MILLRACE_DATABASE_SCHEMA: "_".repeat(63) })).toMatchObject({ schema: "_".repeat(63) });
  });

  test.each(["Acme", "1st", "a-b", 'a"b', "a.b", "pg_acme", "a".repeat(64)])("not in %s", (name) => {
    expect(() => load({ MILLRACE_DATABASE_SCHEMA: name })).toThrow(/MILLRACE_DATABASE_SCHEMA.*must be at most 63/s);
  });

  test("a schema is a server's", () => {
    const env = { DATABASE_URL: "", MILLRACE_DATA_DIR: "/data", MILLRACE_DATABASE_SCHEMA: "acme" };
    expect(() => load(env)).toThrow(/DATABASE_URL.*is required with MILLRACE_DATABASE_SCHEMA/s);
    expect(load({ DATABASE_URL: "", MILLRACE_DATA_DIR: "/data" })).toEqual({ dataDir: "/data/postgres" });
  });
});
