/** The checker as a fault test: a run with every kind of fault that is possible here. Longer ones, and those on a cluster: `npm run test:checker`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { findPostgresBinaries } from "@millrace/store/testing";
import { judge } from "./checker/judge.ts";
import { runCheck } from "./checker/run-check.ts";
import { verdictOf, verdictText } from "./checker/verdict.ts";

const quick = process.env["MILLRACE_FAULTS"] === "quick";
const folders: string[] = [];

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

it.skipIf(findPostgresBinaries() === undefined)("keeps every promise under faults", { timeout: 600_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-checker-"));
  folders.push(folder);
  const seed = 11;
  const evidence = await runCheck({
    seed,
    durationMs: quick ? 30_000 : 120_000,
    kills: quick ? 4 : 12,
    rate: 20,
    mostBurst: 1000,
    mostDelayMs: 10_000,
    cluster: false,
    single: false,
    ackWaitMs: 10_000,
    quietMs: 240_000,
    folder,
    onProgress: () => undefined,
  });
  if (evidence === undefined) throw new Error("no PostgreSQL");
  const problems = judge(evidence);
  expect(problems.length === 0 ? "clean" : verdictText(verdictOf(seed, evidence, problems))).toBe("clean");
});
