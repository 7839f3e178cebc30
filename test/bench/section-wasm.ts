import { readFile } from "node:fs/promises";
import { Gauge, meter, type MeterLimits } from "@millrace/wasm-meter";
import type { Row } from "./report.ts";
import { repeatCode } from "./wasm/repeat-code.ts";

/** Export and rounds of each workload, by the module that has it: some 3 ms each. */
const workloads: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  c: { sha256: 40, vm: 6, chase: 300, regex: 12, compression: 12 },
  rust: { sort: 6, json: 40, matrix: 8, words: 100 },
  assemblyscript: { mandelbrot: 8, recursion: 20, bodies: 50, sieve: 8 },
};
/** The best of so many, in turns, so that a busy moment hits both sides. */
const ROUNDS = 60;
const FUEL = 1e12;
const REWRITES = 24;
const REWRITTEN_BYTES = 4 * 1024 * 1024;
const STOPS = 200;

const limits: MeterLimits = { memoryPages: 4096, tableEntries: 1000 };

/** What metering costs: compiled programs with and without it, the rewriting itself, and the stop when fuel runs out. */
export async function measureWasm(): Promise<Row[]> {
  const rows: Row[] = [];
  const ratios: number[] = [];
  for (const [language, exported] of Object.entries(workloads)) {
    const bytes = await readWorkloads(language);
    for (const [name, rounds] of Object.entries(exported)) {
      const ratio = compare(bytes, name, rounds);
      ratios.push(ratio);
      rows.push({ what: `metered ÷ unmetered, ${name} (${language})`, value: ratio, unit: "×" });
    }
  }
  const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
  return [
    { what: `metered ÷ unmetered, geometric mean of ${ratios.length}`, value: mean, unit: "×", atMost: 1.15 },
    { what: "metered ÷ unmetered, the worst", value: Math.max(...ratios), unit: "×", atMost: 1.8 },
    ...rows,
    {
      what: "rewriting a module, per MB of code",
      value: rewriteMs(await readWorkloads("rust")),
      unit: "ms",
      atMost: 40,
    },
    { what: "out of fuel, from the last unit to the typed failure", value: await stopMs(), unit: "ms", atMost: 1 },
  ];
}

async function readWorkloads(language: string): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await readFile(new URL(`wasm/${language}.wasm`, import.meta.url)));
}

function compare(bytes: Uint8Array<ArrayBuffer>, name: string, rounds: number): number {
  const { module, report } = meter(bytes, limits);
  const plain = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
  const metered = new WebAssembly.Instance(new WebAssembly.Module(module)).exports;
  const gauge = new Gauge(metered, report.limits);
  const best = { plain: Infinity, metered: Infinity };
  gauge.begin(FUEL);
  if (report.start !== null) call(metered, report.start);
  for (let round = 0; round < ROUNDS; round++) {
    const start = performance.now();
    const expected = call(plain, name, rounds);
    const middle = performance.now();
    gauge.begin(FUEL);
    const found = call(metered, name, rounds);
    best.plain = Math.min(best.plain, middle - start);
    best.metered = Math.min(best.metered, performance.now() - middle);
    if (!Object.is(found, expected)) throw new Error(`${name} gives ${String(found)} metered, not ${String(expected)}`);
  }
  return best.metered / best.plain;
}

/** Both validations by the engine included. */
function rewriteMs(bytes: Uint8Array<ArrayBuffer>): number {
  const large = repeatCode(bytes, REWRITTEN_BYTES);
  let best = Infinity;
  for (let round = 0; round < REWRITES; round++) {
    const start = performance.now();
    const { report } = meter(large, limits);
    best = Math.min(best, (performance.now() - start) / (report.codeBytes / 1e6));
  }
  return best;
}

/** The median of what is left of a call's time once the fuel itself is taken off: a loop that is given 1 and 0 units. */
async function stopMs(): Promise<number> {
  const { module, report } = meter(await readWorkloads("c"), limits);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module));
  const gauge = new Gauge(exports, report.limits);
  const times = Array.from({ length: STOPS }, () => {
    gauge.begin(1);
    const start = performance.now();
    try {
      call(exports, "vm", 1e6);
    } catch (error) {
      if (gauge.breachOf(error)?.code === "OUT_OF_FUEL") return performance.now() - start;
    }
    throw new Error("the call did not run out of fuel");
  });
  return times.toSorted((a, b) => a - b)[STOPS / 2] ?? Infinity;
}

function call(exports: WebAssembly.Exports, name: string, ...args: number[]): unknown {
  const target = exports[name];
  if (typeof target !== "function") throw new TypeError(`no function ${name}`);
  return target(...args);
}
