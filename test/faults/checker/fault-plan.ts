import { Dice } from "../../fuzz/dice.ts";

/** What can be done to the system. Each is one kind of trouble that a machine, a network or an operator makes. */
export const faultKinds = [
  "kill service",
  "pause service",
  "half open",
  "cut",
  "kill broker",
  "pause broker",
  "kill postgres",
  "pause postgres",
  "rolling restart",
  "disk full",
  "step down",
] as const;

export type FaultKind = (typeof faultKinds)[number];

export interface PlannedFault {
  /** From the start of the load on. */
  readonly afterMs: number;
  readonly kind: FaultKind;
  /** Decides the target and how long it lasts, so that they do not hang on what came before. */
  readonly dice: Dice;
  /** A burst of so many jobs begins just before it. */
  readonly burst: number;
}

export interface FaultPlanOptions {
  readonly seed: number;
  readonly durationMs: number;
  /** At least so many `kill -9`. */
  readonly kills: number;
  /** The largest burst. */
  readonly mostBurst: number;
  /** What may be done here: a single broker has no leader, and not every machine a disk to fill. */
  readonly kinds: readonly FaultKind[];
}

const isKill = (kind: FaultKind): boolean => kind.startsWith("kill ");

/** How often a kind comes among those of its sort: kills of their own, and all the others. */
const weights: Readonly<Record<FaultKind, number>> = {
  "kill service": 10,
  "kill broker": 7,
  "kill postgres": 3,
  "pause service": 6,
  "half open": 5,
  cut: 3,
  "pause broker": 2,
  "pause postgres": 2,
  "rolling restart": 1,
  "disk full": 2,
  "step down": 6,
};

/** The faults of a run in their order, the same for the same seed. Half as many others as there are kills. */
export function planFaults({ seed, durationMs, kills, mostBurst, kinds }: FaultPlanOptions): PlannedFault[] {
  const dice = new Dice(Math.imul(seed, 0xc2b2ae35) ^ 0x27d4eb2f);
  const others = kinds.filter((kind) => !isKill(kind));
  const drawn = [...draw(dice, kinds.filter(isKill), kills), ...draw(dice, others, Math.ceil(kills / 2))];
  // Spread over the load, but for its beginning; at times two come together.
  return drawn
    .map((kind) => ({
      afterMs: Math.round(durationMs * (0.03 + (0.92 * dice.below(10_000)) / 10_000)),
      kind,
      dice: new Dice(dice.bits()),
      burst: dice.percent(kind === "kill broker" ? 70 : 10) ? Math.ceil((mostBurst * (20 + dice.below(81))) / 100) : 0,
    }))
    .toSorted((a, b) => a.afterMs - b.afterMs);
}

/** So many kinds from a shuffled deck that holds each as often as its weight: a run of some length has some of everything. */
function draw(dice: Dice, kinds: readonly FaultKind[], count: number): FaultKind[] {
  const drawn: FaultKind[] = [];
  while (kinds.length > 0 && drawn.length < count) {
    const deck = kinds.flatMap((kind) => Array.from({ length: weights[kind] }, () => kind));
    while (deck.length > 0 && drawn.length < count) drawn.push(...deck.splice(dice.below(deck.length), 1));
  }
  return drawn;
}
