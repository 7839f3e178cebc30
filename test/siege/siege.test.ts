import { afterAll, beforeAll, expect, test } from "vitest";
import type { AttackReport } from "./attack-ground.ts";
import type { AttackName } from "./attacks.ts";
import { until } from "../lib/until.ts";
import { Siege } from "./siege.ts";

/**
 * Measured alone, and then as long under attack. An attacker's first connections are the ones that are felt, until the address is
 * known for it: the longer it is looked at, the less of a percentile they are.
 */
const measureMs = Number(process.env["SIEGE_MS"] ?? 1_200);
const isLong = measureMs >= 5_000;
/**
 * On top of twice the undisturbed time, for a short look on a machine whose cores also run the attack, the client and other tests:
 * the operating system's scheduler gives a runnable thread its turn after that long.
 */
const shortFloorMs = 10;
/** Other work on the machine only ever adds: one round without much of it is enough. */
const mostRounds = 8;
const mebibyte = 1024 * 1024;
/**
 * The most that its memory may grow, with all that the attacks before have left. Its heap may become four times what lives in it
 * (`collectSeldom` of the gateway).
 */
const mostGrownBytes = 300 * mebibyte;

function grown(bytes: number): string {
  return `${(bytes / mebibyte).toFixed(0)} MiB more`;
}

let siege: Siege;
let settledBytes = 0;
beforeAll(async () => {
  siege = await Siege.start();
  // All that is compiled and allocated once, and the heap with buffers in it for the first time.
  const first = await siege.attack("hugeBodies");
  await siege.client.measure(measureMs);
  await first.end();
  settledBytes = (await siege.residentBytes()) ?? 0;
});
afterAll(() => siege[Symbol.asyncDispose]());

interface Expected {
  /** What the gateway gives as its reasons. */
  readonly reasons: readonly string[];
  /** As `shortFloorMs`, for a long look. */
  readonly floorMs?: number;
  readonly report?: (report: AttackReport) => void;
}

const attacks: readonly [AttackName, Expected][] = [
  ["rapidReset", { reasons: ["resets", "abuse"] }],
  ["frameFloods", { reasons: ["flood", "abuse"] }],
  ["churn", { reasons: [] }],
  ["slowLoris", { reasons: [] }],
  ["slowReaders", { reasons: [] }],
  [
    "hugeBodies",
    {
      reasons: ["body_size"],
      // By HTTP/2 a connection outlives the streams that were refused: whoever goes on sending for them sends into nothing.
      report: ({ mostSentBytes }) => expect(mostSentBytes).toBeLessThan((measureMs / 1000) * 32 * mebibyte),
    },
  ],
  ["gzipBombs", { reasons: ["body_size"], floorMs: 10 }],
  [
    "idleOfOne",
    {
      reasons: ["address_connections"],
      report: ({ held }) => expect(held).toBeLessThanOrEqual(1_000),
    },
  ],
  ["idleOfMany", { reasons: [], report: ({ held }) => expect(held).toBeGreaterThan(4_000) }],
];

test.each(attacks)(
  "others do not feel %s",
  { timeout: mostRounds * (2 * measureMs + 10_000) },
  async (name, { reasons, floorMs = 0, report }) => {
    const rounds: string[] = [];
    while (rounds.length < mostRounds) {
      const before = await siege.refusals();
      const aloneMs = await siege.measureAlone(measureMs);
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
      expect(grownBytes).toBeLessThan(mostGrownBytes);
      const round = `${aloneMs.toFixed(1)} ms alone, ${besideMs.toFixed(1)} ms beside, ${grown(grownBytes)}`;
      if (isLong) console.log(`${name}: ${round}`);
      rounds.push(round);
      report?.(seen);
      if (besideMs <= 2 * aloneMs + (isLong ? floorMs : shortFloorMs)) return;
    }
    expect.fail(`p99: ${rounds.join("; ")}`);
  },
);
