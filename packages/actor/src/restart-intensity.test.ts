import fc from "fast-check";
import { expect, test } from "vitest";
import { defaultRestartLimits, restartDelayMs, RestartIntensity } from "./restart-intensity.ts";

test("a delay stays between its jittered floor and its cap, and never shrinks without jitter", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.double({ min: 0, max: 0.999, noNaN: true }), (n, random) => {
      const limits = defaultRestartLimits;
      const delay = restartDelayMs(n, limits, random);
      const full = restartDelayMs(n, limits, 0);
      expect(delay).toBeLessThanOrEqual(limits.maxDelayMs);
      expect(delay).toBeGreaterThanOrEqual(full * (1 - limits.jitter));
      expect(restartDelayMs(n + 1, limits, 0)).toBeGreaterThanOrEqual(full);
    }),
  );
});

test("no window ever holds more restarts than allowed", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 100 }), (gaps) => {
      let now = 0;
      const clock = { now: () => now, after: () => () => {}, soon: () => {}, random: () => 0 };
      const limits = { ...defaultRestartLimits, maxRestarts: 3, withinMs: 1000 };
      const intensity = new RestartIntensity(limits, clock);
      const allowed: number[] = [];
      for (const gap of gaps) {
        now += gap;
        if (intensity.record() !== undefined) allowed.push(now);
        expect(allowed.filter((at) => now - at < 1000).length).toBeLessThanOrEqual(3);
      }
    }),
  );
});
