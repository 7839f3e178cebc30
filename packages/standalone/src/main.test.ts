import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const stack: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const undo of stack.splice(0).toReversed()) await undo();
}, 60_000);

interface Run {
  readonly child: ChildProcess;
  readonly dataDir: string;
  output(): string;
  /** Resolves when the output holds this text; rejects when the process ends without it. */
  says(text: string): Promise<void>;
  readonly ended: Promise<number | null>;
}

async function run(env: Record<string, string> = {}): Promise<Run> {
  const dataDir = await mkdtemp(join(tmpdir(), "millrace-standalone-"));
  stack.push(() => rm(dataDir, { recursive: true, force: true }));
  const child = spawn(process.execPath, [main], {
    env: {
      ...process.env,
      MILLRACE_DATA_DIR: dataDir,
      MILLRACE_HTTP_PORT: "0",
      MILLRACE_GRPC_PORT: "0",
      MILLRACE_NATS_PORT: "0",
      MILLRACE_LOG_LEVEL: "warn",
      ...env,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = once(child, "exit").then(([code]) => code as number | null);
  stack.push(async () => {
    if (child.exitCode === null) child.kill("SIGTERM");
    await ended;
  });
  let output = "";
  const heard = new Set<() => void>();
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      for (const tell of heard) tell();
    });
  }
  return {
    child,
    dataDir,
    ended,
    output: () => output,
    says: (text) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const look = (): void => {
        if (output.includes(text)) resolve();
      };
      heard.add(look);
      look();
      void ended.then((code) => reject(new Error(`ended with ${code}:\n${output}`)));
      return promise.finally(() => heard.delete(look));
    },
  };
}

function urlIn(output: string): string {
  return /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0] ?? "";
}

test("two systems run side by side, and stop in order with their nats-server", async () => {
  const systems = [await run(), await run()];
  for (const { says } of systems) await says("Ctrl-C stops it in order.");
  const ids = await Promise.all(
    systems.map(async ({ output }) => {
      const response = await fetch(`${urlIn(output())}/api/v1/jobs`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ type: "audit", payload: { json: { type: "user.login" } }, waitMs: 10_000 }),
      });
      expect(response.status).toBe(200);
      return ((await response.json()) as { id: string }).id;
    }),
  );
  const [first, second] = systems;
  if (first === undefined || second === undefined) throw new Error("two were started");
  expect((await fetch(`${urlIn(first.output())}/api/v1/jobs/${ids[0]}`)).status).toBe(200);
  expect((await fetch(`${urlIn(second.output())}/api/v1/jobs/${ids[0]}`)).status).toBe(404);
  for (const { child, ended, dataDir } of systems) {
    const pid = Number(await readFile(join(dataDir, "nats", "nats.pid"), "utf8"));
    child.kill("SIGINT");
    expect(await ended).toBe(0);
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  }
}, 120_000);

test("a port in use is named with the setting that changes it", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  stack.push(() => {
    taken.close();
    return once(taken, "close");
  });
  const { port } = taken.address() as AddressInfo;
  for (const variable of ["MILLRACE_HTTP_PORT", "MILLRACE_GRPC_PORT", "MILLRACE_NATS_PORT"]) {
    const { ended, output } = await run({ [variable]: String(port) });
    expect(await ended).toBe(1);
    expect(output()).toContain(`port ${port}`);
    expect(output()).toContain(variable);
  }
}, 120_000);

test("it listens for this machine only", async () => {
  const { ended, output } = await run({ MILLRACE_HOST: "0.0.0.0" });
  expect(await ended).toBe(1);
  expect(output()).toContain("MILLRACE_HOST");
  expect(output()).toContain("loopback");
});
