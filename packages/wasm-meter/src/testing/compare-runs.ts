import { Gauge } from "../gauge.ts";
import { meter } from "../meter.ts";
import { encodeProgram } from "./encode-program.ts";
import { MAX_PAGES, type Program } from "./program.ts";
import { runProgram } from "./run-program.ts";

const MAX_FUEL = 1_000_000;
/** Fuel is checked now and then: a run that is out of it may still end, or go on for about so much. */
const CHECK_SLACK = 200_000;

/**
 * Runs a program by the interpreter, in the engine as it is, and metered, and says what does not agree.
 *
 * @param throws whether it may throw: what an exception cuts short is charged to the end of its block
 */
export function compareRuns(program: Program, args: readonly number[], throws: boolean): string[] {
  const expected = runProgram(program, args, MAX_FUEL);
  const bytes = encodeProgram(program);
  const { module, report } = meter(bytes, { memoryPages: MAX_PAGES, tableEntries: 4 });
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module));
  const gauge = new Gauge(instance.exports, report.limits);
  const problems: string[] = [];
  const say = (what: string, found: unknown, wanted: unknown): void => {
    problems.push(`${what}: ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`);
  };

  const metered = run(instance, args, () => gauge.begin(MAX_FUEL));
  if (expected.end === "unknown") {
    const breach = metered.error === undefined ? undefined : gauge.breachOf(metered.error);
    const ended = metered.error === undefined && gauge.fuelUsed > MAX_FUEL - CHECK_SLACK;
    const deep = metered.error === undefined && expected.fuel <= MAX_FUEL;
    if (breach === undefined && !ended && !deep && expected.fuel > MAX_FUEL) say("endless", metered, "a breach");
    return problems;
  }
  const plain = run(new WebAssembly.Instance(new WebAssembly.Module(bytes)), args, () => undefined);
  const wanted = typeof expected.end === "object" ? expected.end.result : expected.end;
  if (plain.end !== wanted) say("as it is", plain.end, wanted);
  if (metered.end !== wanted) {
    const early = metered.end === "trap" && gauge.breachOf(metered.error)?.code === "OUT_OF_FUEL";
    if (!early || expected.fuel + CHECK_SLACK < MAX_FUEL) say("metered", metered.end, wanted);
    return problems;
  }
  if (typeof expected.end === "object") {
    const exact = throws ? gauge.fuelUsed >= expected.fuel : gauge.fuelUsed === expected.fuel;
    if (!exact) say("fuel", gauge.fuelUsed, expected.fuel);
  }
  const used = gauge.fuelUsed;
  const again = new WebAssembly.Instance(new WebAssembly.Module(module));
  const secondGauge = new Gauge(again.exports, report.limits);
  run(again, args, () => secondGauge.begin(MAX_FUEL));
  if (secondGauge.fuelUsed !== used) say("fuel of a second run", secondGauge.fuelUsed, used);
  return problems;
}

function run(
  instance: WebAssembly.Instance,
  args: readonly number[],
  before: () => void,
): { readonly end: number | "trap" | "exception"; readonly error: unknown } {
  const first = instance.exports["f0"];
  if (typeof first !== "function") throw new TypeError("no function f0");
  before();
  try {
    return { end: Number(first(...args)), error: undefined };
  } catch (error) {
    return { end: error instanceof WebAssembly.Exception ? "exception" : "trap", error };
  }
}
