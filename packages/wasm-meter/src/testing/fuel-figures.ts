/**
 * Prints what random programs and compiled modules cost, as JSON: `fuel-figures.ts [<module>:<export>:<argument>…]`. The same on
 * every engine.
 */
import { readFileSync } from "node:fs";
import { argv } from "node:process";
import { Gauge } from "../gauge.ts";
import { meter } from "../meter.ts";
import { encodeProgram } from "./encode-program.ts";
import { randomProgram } from "./random-program.ts";

const PROGRAMS = 300;
const FUEL = 1_000_000;
const LIMITS = { memoryPages: 1000, tableEntries: 1000, callDepth: 500 };

function figureOf(bytes: Uint8Array, name: string, args: readonly number[], fuel: number): string {
  const { module, report } = meter(bytes, LIMITS);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module));
  const gauge = new Gauge(exports, report.limits);
  const call = (target: string): unknown => {
    const found = exports[target];
    if (typeof found !== "function") throw new TypeError(`no function ${target}`);
    return found(...args);
  };
  gauge.begin(fuel);
  try {
    if (report.start !== null) call(report.start);
    return `${String(call(name))} for ${gauge.fuelUsed}`;
  } catch (error) {
    return `${gauge.breachOf(error)?.code ?? "failed"} for ${gauge.fuelUsed}`;
  }
}

const figures = Array.from({ length: PROGRAMS }, (_, seed) =>
  figureOf(encodeProgram(randomProgram(seed, seed % 3 === 0)), "f0", [seed & 15, 3], FUEL),
);
for (const workload of argv.slice(2)) {
  const [file = "", name = "", argument] = workload.split(":");
  figures.push(`${name}: ${figureOf(new Uint8Array(readFileSync(file)), name, [Number(argument)], 1e12)}`);
}
console.log(JSON.stringify(figures));
