/** Copies in a cluster of three: made, kept, and refused where a server is too old. Needs a nats-server of 2.10.20 or newer. */
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { silentLogger } from "./bus-logger.ts";
import { connectBus, type Bus } from "./bus.ts";
import { findNatsServer } from "./find-nats-server.ts";
import { provideNatsServer } from "./nats-server.ts";
import { isAtLeast } from "./require-replicas.ts";

const cacheDir = join(tmpdir(), "millrace-nats-bin");
const binary = process.env["MILLRACE_TEST_NATS_BIN"] || (await findNatsServer(cacheDir, silentLogger));
const version = /v?(\d+\.\d+\.\d+)/.exec(execFileSync(binary, ["--version"], { encoding: "utf8" }))?.[1] ?? "";

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  await Promise.all(
    servers.map((server) => new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve))),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

async function startCluster(): Promise<AsyncDisposable & { urls: string[] }> {
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), "millrace-cluster-"));
  stack.defer(() => rm(root, { recursive: true, force: true }));
  const ports = await freePorts(3);
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(", ");
  const starting = ports.map(async (port, index) => {
    const include = join(root, `${index}.conf`);
    const cluster = `cluster { name: millrace, listen: "127.0.0.1:${port}", routes: [${routes}] }`;
    await writeFile(include, `server_name: s${index}\n${cluster}\n`);
    return provideNatsServer({ dataDir: join(root, `s${index}`), include: [include], binary });
  });
  const servers = (await Promise.all(starting)).map((server) => stack.use(server));
  const owned = stack.move();
  return { urls: servers.map(({ url }) => url), [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function replicasOf(bus: Bus): Promise<number[]> {
  return [...new Set((await bus.limits()).streams.map(({ replicas }) => replicas))];
}

it.runIf(isAtLeast(version, [2, 10, 20]))(
  "makes copies, and no service takes them away",
  { timeout: 120_000 },
  async () => {
    await using cluster = await startCluster();
    const servers = cluster.urls;
    await using told = await connectBus({ servers, name: "told", topology: { replicas: 3 } });
    await told.ensureTopology();
    expect(await replicasOf(told)).toEqual([3]);
    // As a service that nobody has told.
    await using untold = await connectBus({ servers, name: "untold" });
    await untold.ensureTopology();
    expect(await replicasOf(untold)).toEqual([3]);
    await untold.publishDurable("jobs.high.q.t.1", new Uint8Array(10));
    await untold.ensureTopology({ replicas: 1 });
    expect(await replicasOf(untold)).toEqual([1]);
  },
);
