import { expect, it } from "vitest";
import { formatTable } from "./format-table.ts";

const result = { ok: true, passed: 12, failed: 0, skipped: 0, seconds: 1 };

it("gives each server a line, and says what ran on it", () => {
  const table = formatTable([
    { server: "broker 1", cells: new Map([["bus", result]]) },
    { server: "database", cells: new Map([["store", { ...result, ok: false, failed: 2, skipped: 3 }]]) },
  ]);
  expect(table.split("\n")).toEqual([
    "          bus            store",
    "broker 1  ok: 12 passed  -",
    "database  -              FAILED: 12 passed, 2 failed, 3 skipped",
  ]);
});
