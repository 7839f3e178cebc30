import { EventKind, type JobEvent } from "@millrace/protocol";
import { startNameServer, type NameServer } from "@millrace/worker/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readSource } from "./assemble.ts";
import { corpus, type Ending, type HostileCall, type HostilePlugin } from "./corpus.ts";
import { giantModules } from "./giant-modules.ts";
import { startHostileServers, type HostileServers } from "./hostile-server.ts";
import { HostileSystem, typeOf, type Runtime } from "./hostile-system.ts";
import { httpPlugins, innerNames } from "./http-calls.ts";
import { MemoryWatch } from "./process-tree.ts";
import { refusedModules } from "./refused-modules.ts";

/** Plugins whose calls are under way at one time. */
const atOnce = 6;
/** Calls that wait for a server: more than all executors suspend. */
const waitingCalls = 1000;
/**
 * Of the worker and its executors, with some 80 plugins loaded in each, idle instances included, and whatever hostile calls take at
 * one time.
 */
const mostResidentBytes = 1024 * 1024 * 1024;
const executors = 2;
const heapFlag = "--max-old-space-size=256";
/** How often the corpus is gone through: more of it looks for what adds up slowly. */
const rounds = Number(process.env["HOSTILE_ROUNDS"] ?? 1);
/** Ten to fifteen seconds are usual; a busy machine takes longer. */
const testTimeoutMs = 90_000 * rounds;
const suspendedPerExecutor = 256;

let servers: HostileServers;
let nameServer: NameServer;
beforeAll(async () => {
  servers = await startHostileServers();
  nameServer = await startNameServer(innerNames);
});
afterAll(async () => {
  nameServer.close();
  await servers[Symbol.asyncDispose]();
});

/** Fuel of each call, by runtime, for those that the same fuel must end. */
const fuelOf: Record<Runtime, Map<string, number>> = { node: new Map(), deno: new Map() };

describe.each(["node", "deno"] as const)("a worker on %s", (runtime) => {
  let system: HostileSystem;
  let plugins: readonly HostilePlugin[];
  let memory: MemoryWatch;

  beforeAll(async () => {
    const { allowedPort, garbagePort } = servers;
    system = await HostileSystem.start(runtime, {
      MILLRACE_EXECUTORS: String(executors),
      MILLRACE_HANDLERS: "test/hostile/good-handlers.ts",
      MILLRACE_PLUGIN_HTTP_PRIVATE: `127.0.0.1:${allowedPort},127.0.0.1:${garbagePort}`,
      MILLRACE_PLUGIN_NAME_SERVERS: nameServer.address,
      MILLRACE_SECRET_FLOOD: "not-to-be-told",
      // A heap that may grow is not collected before it has: its size would tell nothing.
      NODE_OPTIONS: heapFlag,
      DENO_V8_FLAGS: heapFlag,
    });
    memory = new MemoryWatch(system.worker.child.pid ?? 0);
    plugins = [...corpus, ...httpPlugins(servers)];
    for (const plugin of plugins) {
      const exports = plugin.calls.map(({ exportName }) => exportName);
      await system.install({ ...plugin, module: await plugin.bytes(), exports });
    }
    for (const [name, { bytes }] of Object.entries(refusedModules))
      await system.install({ name, module: bytes(), exports: ["run"] });
    for (const [name, bytes] of Object.entries(giantModules))
      await system.install({ name, module: bytes(), exports: ["run"] });
    const places = [`http://127.0.0.1:${allowedPort}`];
    const module = await readSource("fetch");
    await system.install({ name: "waiter", module, exports: ["fetch"], granted: { http: places } });
    const good = await readSource("good");
    await system.install({ name: "good", module: good, exports: ["run"] });
    // Records are taken in one after the other: when the last one's plugin runs, all others are known.
    await system.run(typeOf("good", "run"));
  });
  afterAll(async () => {
    memory[Symbol.dispose]();
    await system[Symbol.asyncDispose]();
  });

  test(
    "ends each hostile call by its own typed failure, and runs what is beside",
    async () => {
      const wrong: string[] = [];
      const ending = new AbortController();
      const all = Array.from({ length: rounds }, () => plugins).flat();
      const hostile = inTurns(all, atOnce, async ({ name, calls }) => {
        for (const call of calls) {
          const event = await system.run(typeOf(name, call.exportName), call.input);
          if (!isAsExpected(event, call.ends)) wrong.push(describeEnd(name, call, event));
          if (isDeterministic(call)) fuelOf[runtime].set(typeOf(name, call.exportName), event.fuel);
        }
      }).finally(() => ending.abort());
      const [ran] = await Promise.all([runBeside(system, ending.signal), hostile]);
      expect(wrong).toEqual([]);
      expect(ran).toBeGreaterThan(10);
      expect(servers.forbiddenHits()).toBe(0);
    },
    testTimeoutMs,
  );

  test("leaves jobs of modules that it refuses waiting, and says why", async () => {
    const wrong: string[] = [];
    const all = [
      ...Object.entries(refusedModules).map(([name, { why }]) => [name, why] as const),
      ...Object.keys(giantModules).map((name) => [name, /bound is \d+|deeper than \d+/] as const),
    ];
    for (const [name, why] of all) {
      const reason = await system.whyWaiting(typeOf(name, "run"));
      if (!why.test(reason)) wrong.push(`${name}: ${reason}`);
    }
    expect(wrong).toEqual([]);
  });

  test("suspends many calls that wait, within a bound", async () => {
    const input = JSON.stringify({ url: `http://127.0.0.1:${servers.allowedPort}/wait` });
    const events = await Promise.all(
      Array.from({ length: waitingCalls }, () => system.run(typeOf("waiter", "fetch"), input)),
    );
    const failed = events.filter(({ kind }) => kind !== EventKind.SUCCEEDED);
    expect(failed.map(({ errorCode, errorMessage }) => `${errorCode}: ${errorMessage}`)).toEqual([]);
    // Those who were there long before one executor could have run them in turn.
    expect(servers.mostWaiting()).toBeGreaterThan(suspendedPerExecutor / 2);
    // The front executor, for calls that somebody waits for, suspends as many.
    expect(servers.mostWaiting()).toBeLessThanOrEqual((executors + 1) * suspendedPerExecutor);
  });

  test("is the same process as at first, with its memory bounded", async () => {
    expect(await system.run(typeOf("good", "run"), "still here")).toMatchObject({ kind: EventKind.SUCCEEDED });
    expect(system.worker.ended, system.worker.output).toBe(false);
    expect(memory.most).toBeLessThan(mostResidentBytes);
  });
});

test("takes the same fuel on Node as on Deno", () => {
  expect(fuelOf.node.size).toBeGreaterThan(30);
  expect(Object.fromEntries(fuelOf.deno)).toEqual(Object.fromEntries(fuelOf.node));
});

/** Native and plugin jobs one after the other. @returns how many have run */
async function runBeside(system: HostileSystem, signal: AbortSignal): Promise<number> {
  let ran = 0;
  for (; !signal.aborted; ran += 2) {
    const native = await system.run("native", "in", "good");
    expect(native).toMatchObject({ kind: EventKind.SUCCEEDED });
    const plugin = await system.run(typeOf("good", "run"), "in", "good");
    expect(plugin).toMatchObject({ kind: EventKind.SUCCEEDED });
  }
  return ran;
}

async function inTurns<T>(items: readonly T[], most: number, run: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const one = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: most }, one));
}

function isAsExpected({ kind, errorCode, breachResource, breachFigure, breachLimit }: JobEvent, ends: Ending): boolean {
  if (ends === "succeeds") return kind === EventKind.SUCCEEDED;
  const isTold = ends.resource === "" || breachFigure >= breachLimit;
  return kind === EventKind.DEAD && errorCode === ends.code && breachResource === ends.resource && isTold;
}

function describeEnd(plugin: string, call: HostileCall, event: JobEvent): string {
  const { errorCode, breachResource, breachFigure, breachLimit, errorMessage } = event;
  const figures = `${breachResource} ${breachFigure}/${breachLimit}`;
  return `${plugin} ${call.exportName}(${call.input}): ${errorCode} ${figures} ${errorMessage}`;
}

/** Fuel decides where it or the counted depth ended the call; not the clock, the network or the engine's own stack. */
function isDeterministic({ ends, exportName }: HostileCall): boolean {
  if (ends === "succeeds") return false;
  return ends.resource === "fuel" || (ends.resource === "memory" && exportName !== "run");
}
