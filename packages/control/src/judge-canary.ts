import type { CanaryBounds } from "@millrace/protocol";

/** How calls of one version went since a canary began. */
export interface Tally {
  readonly calls: number;
  readonly failures: number;
  readonly fuel: number;
}

/** What stands for each bound that is 0. */
export const defaultCanaryBounds = { failureIncrease: 0.05, fuelRatio: 2, minCalls: 50 } as const;

/** @returns why the canary has to go, with the figures; undefined while it may stay */
export function judgeCanary(
  canary: Tally,
  serving: Tally,
  bounds: Pick<CanaryBounds, "failureIncrease" | "fuelRatio" | "minCalls"> | undefined,
): string | undefined {
  const failureIncrease = bounds?.failureIncrease || defaultCanaryBounds.failureIncrease;
  const fuelRatio = bounds?.fuelRatio || defaultCanaryBounds.fuelRatio;
  const minCalls = bounds?.minCalls || defaultCanaryBounds.minCalls;
  if (canary.calls < minCalls) return undefined;
  const share = canary.failures / canary.calls;
  const usual = serving.calls === 0 ? 0 : serving.failures / serving.calls;
  if (share > usual + failureIncrease) {
    return `${failed(canary)}, against ${failed(serving)} of the version that serves; at most ${percent(failureIncrease)} more is let through`;
  }
  // A few calls of the other version say nothing of its fuel.
  if (serving.calls < minCalls || serving.fuel === 0) return undefined;
  const fuel = canary.fuel / canary.calls;
  const usualFuel = serving.fuel / serving.calls;
  if (fuel <= usualFuel * fuelRatio) return undefined;
  return `used ${Math.round(fuel)} fuel a call, against ${Math.round(usualFuel)} of the version that serves; at most ${fuelRatio} × is let through`;
}

function failed({ calls, failures }: Tally): string {
  return `${failures} of ${calls} calls failed (${percent(calls === 0 ? 0 : failures / calls)})`;
}

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}
