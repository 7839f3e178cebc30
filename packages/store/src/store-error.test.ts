import { MillraceError } from "@millrace/protocol";
import pg from "pg";
import { expect, test } from "vitest";
import { isUnfitRow, translateStoreError } from "./store-error.ts";

function databaseError(code: string): pg.DatabaseError {
  return Object.assign(new pg.DatabaseError("said by the database", 0, "error"), { code });
}

test.each(["57014", "55P03", "57P01", "53300", "25006"])("%s passes: it is to be tried again", (code) => {
  const error = translateStoreError(databaseError(code));
  expect(error).toBeInstanceOf(MillraceError);
  expect(error).toMatchObject({ code: "unavailable" });
  expect(isUnfitRow(error)).toBe(false);
});

test.each([
  ["22008", true],
  ["23502", true],
  ["54000", true],
  ["42P01", false],
  ["42501", false],
  ["XX002", false],
])("%s is the row's fault: %s", (code, isUnfit) => {
  expect(isUnfitRow(translateStoreError(databaseError(code)))).toBe(isUnfit);
});
