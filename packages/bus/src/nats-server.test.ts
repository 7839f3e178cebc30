import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { silentLogger } from "./bus-logger.ts";
import { connectBus } from "./bus.ts";
import { provideNatsServer } from "./nats-server.ts";

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "millrace-nats-"));
});

afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

/** Resolves when nothing listens there. */
async function untilRefused(url: string): Promise<void> {
  const { port, hostname } = new URL(url);
  for (;;) {
    const socket = connect(Number(port), hostname);
    const refused = await Promise.race([
      once(socket, "connect").then(() => false),
      once(socket, "error").then(() => true),
    ]).catch(() => true);
    if (refused) return;
    // The server closes it when it ends.
    await once(socket.resume(), "close").catch(() => undefined);
  }
}

it("starts on the loopback, keeps what it holds, and stops", async () => {
  const first = await provideNatsServer({ dataDir });
  expect(new URL(first.url).hostname).toBe("127.0.0.1");
  {
    await using bus = await connectBus({ servers: first.url, name: "test" });
    await bus.ensureTopology();
    await bus.publishDurable("jobs.low.q.t.a", new Uint8Array(1));
    expect(bus.info.features.multipleFilters).toBe(!bus.info.version.startsWith("2.9."));
  }
  await first[Symbol.asyncDispose]();
  await untilRefused(first.url);
  await using second = await provideNatsServer({ dataDir });
  await using bus = await connectBus({ servers: second.url, name: "test" });
  expect((await bus.streamState("JOBS_LOW")).messages).toBe(1);
});

it("uses the server it is pointed to", async () => {
  await using server = await provideNatsServer({ dataDir, url: "nats://127.0.0.1:1" });
  expect(server).toMatchObject({ url: "nats://127.0.0.1:1", pid: undefined });
  await expect(connectBus({ servers: server.url, name: "test", connectTimeoutMs: 50 })).rejects.toMatchObject({
    code: "unavailable",
  });
});

it("says after a while what a start waits for, and at its end too, without a password", async () => {
  const said: object[] = [];
  const logger = { ...silentLogger, warn: (fields: object) => void said.push(fields) };
  const bus = connectBus({ servers: "nats://ada:secret@127.0.0.1:1", name: "test", connectTimeoutMs: 2200, logger });
  await expect(bus).rejects.toThrow("no NATS server answers at nats://127.0.0.1:1");
  expect(said).toMatchObject([{ servers: "nats://127.0.0.1:1", err: { code: "CONNECTION_REFUSED" } }]);
});

it("dies with the process that started it, even by kill -9", async () => {
  const script = join(dataDir, "owner.ts");
  const module = new URL("./nats-server.ts", import.meta.url).href;
  await writeFile(
    script,
    `import { provideNatsServer } from ${JSON.stringify(module)};
     const server = await provideNatsServer({ dataDir: ${JSON.stringify(join(dataDir, "data"))} });
     console.log(server.url);`,
  );
  const owner = spawn(process.execPath, [script], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(owner.stdout, "data")) as [Buffer];
  await expect(provideNatsServer({ dataDir: join(dataDir, "data") })).rejects.toMatchObject({
    code: "failed_precondition",
  });
  const exited = once(owner, "exit");
  owner.kill("SIGKILL");
  // Until then its id is taken, and the folder with it.
  await exited;
  await untilRefused(line.toString().trim());
  await using next = await provideNatsServer({ dataDir: join(dataDir, "data") });
  expect(next.pid).toBeGreaterThan(0);
});
