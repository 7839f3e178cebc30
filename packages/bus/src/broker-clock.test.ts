import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { BrokerClock } from "./broker-clock.ts";

const machineNow = Date.now;
afterEach(() => {
  Date.now = machineNow;
});

/** This machine's clock, wrong by so much. */
function skew(ms: number): void {
  Date.now = () => machineNow() + ms;
}

test("is right, and says by how much the machine is wrong, after one observation", () => {
  skew(600_000);
  const clock = new BrokerClock();
  expect(clock.nowMs() - machineNow()).toBeGreaterThan(599_000);
  const sentMs = performance.now();
  clock.observe(sentMs, sentMs + 4, machineNow());
  expect(Math.abs(clock.nowMs() - machineNow())).toBeLessThan(50);
  expect(Math.abs(clock.skewMs - 600_000)).toBeLessThan(50);
});

test("does not follow when the machine's clock is set", () => {
  const clock = new BrokerClock();
  skew(-3_600_000);
  expect(Math.abs(clock.nowMs() - machineNow())).toBeLessThan(50);
  expect(clock.skewMs).toBeLessThan(-3_599_000);
});

test("is never further off than the round trip of the last observation", () => {
  const observation = fc.record({
    offsetMs: fc.integer({ min: -10_000_000, max: 10_000_000 }),
    thereMs: fc.double({ min: 0, max: 500, noNaN: true }),
    backMs: fc.double({ min: 0, max: 500, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(observation, { minLength: 1, maxLength: 5 }), (observations) => {
      const clock = new BrokerClock();
      for (const { offsetMs, thereMs, backMs } of observations) {
        const sentMs = performance.now();
        const brokerMs = machineNow() + offsetMs;
        clock.observe(sentMs, sentMs + thereMs + backMs, Math.floor(brokerMs + thereMs));
        const shouldMs = brokerMs + performance.now() - sentMs;
        expect(Math.abs(clock.nowMs() - shouldMs)).toBeLessThanOrEqual(thereMs + backMs + 5);
      }
    }),
  );
});
