import { afterAll, beforeAll, expect, test } from "vitest";
import type { AttackReport } from "./attack-ground.ts";
import type { AttackName } from "./attacks.ts";
import { until } from "../lib/until.ts";
import { Siege } from "./siege.ts";

/** Measured alone, and then as long under attack. */
const measureMs = 1_200;
/** Other work on the machine only ever adds: one round without much of it is enough. */
const mostRounds = 8;
/**
 * On top of twice the undisturbed time, for a machine whose cores also run the attack, the client and other tests: the
 * system's scheduler gives a runnable thread its turn after that long.
 */
const floorMs = 10;
const mebibyte = 1024 * 1024;

let siege: Siege;
let settledBytes = 0;
beforeAll(async () => {
  siege = await Siege.start();
  // All that is compiled and allocated once.
  await siege.client.measure(measureMs);
  settledBytes = (await siege.residentBytes()) ?? 0;
});
afterAll(() => siege[Symbol.asyncDispose]());

interface Expected {
  /** What the gateway gives as its reasons. */
  readonly reasons: readonly string[];
  /** The most that its memory may grow, with all that the attacks before have left. */
  readonly growthBytes: number;
  readonly report?: (report: AttackReport) => void;
}

const attacks: readonly [AttackName, Expected][] = [
  ["rapidReset", { reasons: ["resets", "abuse"], growthBytes: 100 * mebibyte }],
  ["frameFloods", { reasons: ["flood", "abuse"], growthBytes: 100 * mebibyte }],
  ["churn", { reasons: [], growthBytes: 100 * mebibyte }],
  ["slowLoris", { reasons: [], growthBytes: 120 * mebibyte }],
  ["slowReaders", { reasons: [], growthBytes: 150 * mebibyte }],
  [
    "hugeBodies",
    {
      reasons: ["body_size"],
      growthBytes: 250 * mebibyte,
      report: ({ mostSentBytes }) => expect(mostSentBytes).toBeLessThan(32 * mebibyte),
    },
  ],
  ["gzipBombs", { reasons: [], growthBytes: 250 * mebibyte }],
  [
    "idleOfOne",
    {
      reasons: ["address_connections"],
      growthBytes: 250 * mebibyte,
      report: ({ held }) => expect(held).toBeLessThanOrEqual(1_000),
    },
  ],
  [
    "idleOfMany",
    { reasons: [], growthBytes: 350 * mebibyte, report: ({ held }) => expect(held).toBeGreaterThan(4_000) },
  ],
];

test.each(attacks)("others do not feel %s", { timeout: 90_000 }, async (name, { reasons, growthBytes, report }) => {
  const rounds: string[] = [];
  for (let round = 0; round < mostRounds; round++) {
    const before = await siege.refusals();
    const aloneMs = await siege.client.measure(measureMs);
    const attack = await siege.attack(name);
    const besideMs = await siege.client.measure(measureMs);
    const grownBytes = ((await siege.residentBytes()) ?? 0) - settledBytes;
    await until(
      async () => {
        const after = await siege.refusals();
        return reasons.every((reason) => (after.get(reason) ?? 0) > (before.get(reason) ?? 0)) ? true : undefined;
      },
      `refusals for ${reasons.join(" and ")}`,
    );
    const seen = await attack.end();
    expect(siege.running).toBe(true);
    expect(seen.opened).toBeGreaterThan(0);
    expect(grownBytes).toBeLessThan(growthBytes);
    rounds.push(JSON.stringify({ aloneMs, besideMs }));
    report?.(seen);
    if (besideMs <= 2 * aloneMs + floorMs) return;
  }
  expect.fail(`p99: ${rounds.join("; ")}`);
});
