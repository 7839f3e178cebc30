import { spawn } from "node:child_process";
import { once } from "node:events";
import { setPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { EventKind } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSource } from "./assemble.ts";
import { corpus } from "./corpus.ts";
import { HostileSystem, typeOf } from "./hostile-system.ts";

/** Good jobs of each kind in one run, and the pause between two. */
const goodJobs = 400;
const pauseMs = 4;
/** Hostile calls that are under way all the time. */
const hostileAtOnce = 2;
/** As executors have it. */
const executorNice = 5;
/** Other work on the machine adds to either side by chance: one round in which it does not is enough. */
const mostRounds = 6;

let system: HostileSystem;
beforeAll(async () => {
  system = await HostileSystem.start("node", {
    MILLRACE_EXECUTORS: "1",
    MILLRACE_HANDLERS: "test/hostile/good-handlers.ts",
  });
  for (const plugin of corpus) {
    const exports = plugin.calls.map(({ exportName }) => exportName);
    await system.install({ ...plugin, module: await plugin.bytes(), exports });
  }
  await system.install({ name: "good", module: await readSource("good"), exports: ["run"] });
  // Known to be short from here on, as every handler is that has run for a while.
  await measure();
});
afterAll(() => system[Symbol.asyncDispose]());

test("jobs beside hostile calls keep their latency", { timeout: 120_000 }, async () => {
  const rounds: string[] = [];
  for (let round = 0; round < mostRounds; round++) {
    const alone = await measureOnOtherCores();
    const ending = new AbortController();
    const [beside, ran] = await Promise.all([measure().finally(() => ending.abort()), attack(ending.signal)]);
    expect(ran).toBeGreaterThan(hostileAtOnce);
    if (isKept(alone.native, beside.native) && isKept(alone.plugin, beside.plugin)) return;
    rounds.push(JSON.stringify({ alone, beside, ran }));
  }
  expect.fail(`p99 in ms: ${rounds.join("; ")}`);
});

function isKept(aloneMs: number, besideMs: number): boolean {
  return besideMs <= 2 * aloneMs;
}

/**
 * Undisturbed, with a core less: the one that the executor keeps busy, as it may with an honest call, too. On a machine of many
 * cores that makes no difference; on two it is half of what there is, for the broker, the worker and this test as well.
 */
async function measureOnOtherCores(): Promise<{ readonly native: number; readonly plugin: number }> {
  const busy = spawn(process.execPath, ["--eval", "for (;;);"]);
  try {
    await once(busy, "spawn");
    if (busy.pid !== undefined) setPriority(busy.pid, executorNice);
    return await measure();
  } finally {
    busy.kill("SIGKILL");
  }
}

/** The 99th percentile of the time from submission to the end, in ms. */
async function measure(): Promise<{ readonly native: number; readonly plugin: number }> {
  const times = { native: [] as Promise<number>[], plugin: [] as Promise<number>[] };
  for (let i = 0; i < goodJobs; i++) {
    times.native.push(timeOf("native"));
    times.plugin.push(timeOf(typeOf("good", "run")));
    await delay(pauseMs);
  }
  return {
    native: percentile99(await Promise.all(times.native)),
    plugin: percentile99(await Promise.all(times.plugin)),
  };
}

async function timeOf(type: string): Promise<number> {
  const startMs = performance.now();
  const event = await system.run(type, "in", "good");
  expect(event).toMatchObject({ kind: EventKind.SUCCEEDED });
  return performance.now() - startMs;
}

function percentile99(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Infinity;
}

/** Makes the corpus's calls over and over, below the priority of others. @returns how many ended */
async function attack(signal: AbortSignal): Promise<number> {
  const calls = corpus.flatMap(({ name, calls }) => calls.map((call) => ({ name, call })));
  let ran = 0;
  const one = async (): Promise<void> => {
    while (!signal.aborted) {
      const next = calls[ran++ % calls.length];
      if (next !== undefined)
        await system.run(typeOf(next.name, next.call.exportName), next.call.input, "hostile", "low");
    }
  };
  await Promise.all(Array.from({ length: hostileAtOnce }, one));
  return ran;
}
