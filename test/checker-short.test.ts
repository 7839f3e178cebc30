/** The checker of `test/faults`, in short, and the proof that it can fail: each promise is broken once, and is to be named. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPostgresBinaries } from "@millrace/store/testing";
import type { Evidence } from "./faults/checker/evidence.ts";
import { faultKinds, planFaults } from "./faults/checker/fault-plan.ts";
import { drawJob } from "./faults/checker/job-plan.ts";
import { judge } from "./faults/checker/judge.ts";
import { withDatabase } from "./faults/checker/read-database.ts";
import { runCheck } from "./faults/checker/run-check.ts";
import { jobToSpoil, spoils } from "./faults/checker/spoil.ts";
import { problemText, verdictOf, verdictText } from "./faults/checker/verdict.ts";

const seed = 3;

it("draws the same jobs and faults from the same seed, and others from another", () => {
  const draw = (from: number): string =>
    JSON.stringify([
      Array.from({ length: 200 }, (_, n) => drawJob(from, n, n % 3 === 0, 20_000)),
      planFaults({ seed: from, durationMs: 60_000, kills: 20, mostBurst: 100, kinds: [...faultKinds] }).map(
        (fault) => ({
          ...fault,
          dice: 0,
        }),
      ),
    ]);
  expect(draw(1)).toBe(draw(1));
  expect(draw(1)).not.toBe(draw(2));
  const kinds = planFaults({ seed, durationMs: 60_000, kills: 20, mostBurst: 100, kinds: [...faultKinds] }).map(
    ({ kind }) => kind,
  );
  expect(kinds.filter((kind) => kind.startsWith("kill ")).length).toBe(20);
});

describe.skipIf(findPostgresBinaries() === undefined)("jobs under faults", () => {
  const folder = mkdtempSync(join(tmpdir(), "millrace-checker-short-"));
  let evidence: Evidence;
  /** What the checker read after a row was changed, and one deleted, in the database itself. */
  let changed: Evidence;
  let changedJob: number;

  beforeAll(async () => {
    const found = await runCheck({
      seed,
      durationMs: 8_000,
      kills: 3,
      rate: 30,
      mostBurst: 400,
      mostDelayMs: 4000,
      cluster: false,
      single: true,
      ackWaitMs: 3000,
      kinds: ["kill service", "kill broker", "cut"],
      quietMs: 60_000,
      folder,
      onProgress: () => undefined,
      afterwards: async (databaseUrl, again) => {
        const job = jobToSpoil(await again());
        changedJob = job.n;
        await withDatabase(databaseUrl, (client) =>
          client.query("UPDATE jobs SET payload = set_byte(payload, 0, get_byte(payload, 0) # 1) WHERE id = $1", [
            job.rows[0]?.id,
          ]),
        );
        changed = await again();
      },
    });
    if (found === undefined) throw new Error("no PostgreSQL");
    evidence = found;
  }, 300_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("end as promised", () => {
    const problems = judge(evidence);
    expect(problems.length === 0 ? "clean" : verdictText(verdictOf(seed, evidence, problems))).toBe("clean");
    expect(evidence.faults.length).toBeGreaterThanOrEqual(4);
    expect(evidence.rows.length).toBeGreaterThan(200);
  });

  it("are read from the database as they are", () => {
    const named = judge(changed).filter(({ n }) => n === changedJob);
    expect(named.map(problemText).join("\n")).toMatch(/payload of \d+ bytes is|there is no row/);
  });

  it.each(spoils.map((spoil) => [spoil.what, spoil] as const))("are found wrong: %s", (_, spoil) => {
    const job = jobToSpoil(evidence);
    const known = new Set(judge(evidence).map(problemText));
    const problems = judge(spoil.spoil(evidence, job)).filter((problem) => !known.has(problemText(problem)));
    const named = problems.filter(({ rule, n, text }) => {
      return rule === spoil.rule && (!spoil.ofJob || n === job.n) && spoil.text.test(text);
    });
    expect(named.length, problems.map(problemText).join("\n")).toBeGreaterThan(0);
  });
});
