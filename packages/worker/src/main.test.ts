import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EventKind, headerNames } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { fixturesModule, hostCallsModule, PluginFixture } from "./plugin-fixture.ts";
import { WorkerFixture } from "./testing.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const main = fileURLToPath(new URL("main.ts", import.meta.url));
const handlers = fileURLToPath(new URL("../fixtures/handlers.ts", import.meta.url));
// The binary itself: the package's script would stand between it and our signals.
const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");

const runtimes = {
  node: [process.execPath, main],
  deno: [deno, "run", "-A", "--node-modules-dir=manual", main],
} as const;

let world: WorkerFixture;
beforeAll(async () => {
  world = await WorkerFixture.start();
  const plugins = new PluginFixture(world);
  const manifest = {
    name: "fixtures",
    version: "1.0.0",
    // Fuel does not end it: a module that never comes back is the watchdog's.
    limits: { timeoutMs: 500, fuel: 1_000_000_000_000_000n },
    handlers: [
      { type: "noop", export: "noop" },
      { type: "trap", export: "trap" },
      { type: "spin", export: "spin" },
    ],
  };
  await plugins.install(await fixturesModule(), { manifest });
  const kept = ["remember", "recall"].map((name) => ({ type: name, export: name }));
  const granted = { kvBytes: 1000n };
  await plugins.install(await hostCallsModule(), {
    manifest: { name: "asks", version: "1.0.0", handlers: kept, capabilities: granted },
    granted,
  });
});
afterAll(() => world[Symbol.asyncDispose]());

test.each(Object.keys(runtimes) as (keyof typeof runtimes)[])(
  "the same sources run native handlers and plugins on %s, and end at a signal",
  async (runtime) => {
    const [command, ...args] = runtimes[runtime];
    const child = spawn(command, args, {
      cwd: root,
      env: {
        ...process.env,
        NATS_URL: world.nats.url,
        MILLRACE_QUEUES: `${runtime}-queue`,
        MILLRACE_HANDLERS: handlers,
        MILLRACE_LOG_LEVEL: "warn",
      },
      stdio: ["ignore", "inherit", "inherit"],
    });
    const exited = once(child, "exit");
    try {
      await world.submit("normal", `${runtime}-queue`, "runtime", `${runtime}-1`, "in");
      await world.submit("normal", `${runtime}-queue`, "noop", `${runtime}-2`, "through");
      await world.submit("high", `${runtime}-queue`, "trap", `${runtime}-3`, "", [[headerNames.maxAttempts, "1"]]);
      const native = await world.end(`${runtime}-1`);
      expect(JSON.parse(new TextDecoder().decode(native.result))).toEqual({ runtime, payload: "in" });
      const plugin = await world.end(`${runtime}-2`);
      expect(new TextDecoder().decode(plugin.result)).toBe("through");
      expect(await world.end(`${runtime}-3`)).toMatchObject({ kind: EventKind.DEAD, errorCode: "TRAPPED" });
      await world.submit("normal", `${runtime}-queue`, "remember", `${runtime}-6`, runtime);
      expect(await world.end(`${runtime}-6`)).toMatchObject({ kind: EventKind.SUCCEEDED });
      await world.submit("normal", `${runtime}-queue`, "recall", `${runtime}-7`, runtime);
      expect(new TextDecoder().decode((await world.end(`${runtime}-7`)).result)).toBe(runtime);
      await world.submit("normal", `${runtime}-queue`, "spin", `${runtime}-4`, "", [[headerNames.maxAttempts, "1"]]);
      await world.submit("normal", `${runtime}-queue`, "noop", `${runtime}-5`, "after");
      const hung = await world.end(`${runtime}-4`);
      expect(hung).toMatchObject({ kind: EventKind.DEAD, errorCode: "TIMED_OUT", breachResource: "time" });
      expect(hung.breachFigure).toBeLessThan(1000);
      const after = await world.end(`${runtime}-5`);
      expect(after).toMatchObject({ kind: EventKind.SUCCEEDED, attempt: 1 });
    } finally {
      child.kill("SIGTERM");
    }
    expect(await exited).toEqual([0, null]);
  },
  30_000,
);

test("a worker that waits for its broker at the start is stopped at once", async () => {
  const env = { ...process.env, NATS_URL: "nats://127.0.0.1:1", MILLRACE_LOG_LEVEL: "info" };
  const child = spawn(process.execPath, [main], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "exit");
  let output = "";
  const waits = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes("no NATS server answers yet")) resolve();
      });
  });
  await waits;
  const stoppedMs = performance.now();
  child.kill("SIGTERM");
  expect((await ended)[0]).toBe(0);
  expect(performance.now() - stoppedMs).toBeLessThan(5000);
  expect(output).not.toContain("did not");
});
