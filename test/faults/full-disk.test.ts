/** The disk under the broker's store fills up: health and the log say so, as the broker does not. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connectBus, probeBroker } from "@millrace/bus";
import { TestNats } from "@millrace/bus/testing";
import { expect, it, type TestContext } from "vitest";
import { SmallDisk } from "./checker/small-disk.ts";

const main = fileURLToPath(new URL("../../packages/standalone/src/main.ts", import.meta.url));
const diskBytes = 64 << 20;

async function mount(stack: AsyncDisposableStack, context: TestContext): Promise<SmallDisk> {
  const disk = await SmallDisk.mount(diskBytes);
  if (disk === undefined) return context.skip("nothing may be mounted here");
  return stack.use(disk);
}

interface Readiness {
  readonly status: number;
  /** What is missing, or should be looked after. */
  readonly reasons: readonly string[];
}

async function readiness(url: string): Promise<Readiness> {
  const response = await fetch(`${url}/health/ready`);
  const { missing = [], degraded = [] } = (await response.json()) as Record<string, { part: string; reason: string }[]>;
  const reasons = [...missing, ...degraded].map(({ part, reason }) => `${part}: ${reason}`);
  return { status: response.status, reasons };
}

it("a process that runs the broker says that its disk is full, until there is room", async (context) => {
  await using stack = new AsyncDisposableStack();
  const disk = await mount(stack, context);
  const dataDir = await mkdtemp(join(tmpdir(), "millrace-full-"));
  stack.defer(() => rm(dataDir, { recursive: true, force: true }));
  await mkdir(join(disk.folder, "nats"));
  // The database, the log and all else have room.
  await symlink(join(disk.folder, "nats"), join(dataDir, "nats"));
  const child = spawn(process.execPath, [main], {
    env: {
      ...process.env,
      MILLRACE_DATA_DIR: dataDir,
      MILLRACE_HTTP_PORT: "0",
      MILLRACE_GRPC_PORT: "0",
      MILLRACE_NATS_PORT: "0",
      MILLRACE_PLUGINS_DIR: "",
      MILLRACE_IDENTITY: "off",
      MILLRACE_LOG_TO: "file",
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  stack.defer(async () => {
    child.kill("SIGTERM");
    await ended;
  });
  const started = Promise.withResolvers<string>();
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(output)?.[0];
    if (url !== undefined) started.resolve(url);
  });
  void ended.then(() => started.reject(new Error(`ended:\n${output}`)));
  const url = await started.promise;
  const before = await readiness(url);
  expect(before.reasons.filter((reason) => reason.includes("disk"))).toEqual([]);

  disk.fill();
  const words = `broker's disk: the disk of the broker's store is 100 % full (${join(dataDir, "nats")})`;
  await expect
    .poll(() => readiness(url), { timeout: 20_000 })
    .toMatchObject({
      status: 503,
      reasons: expect.arrayContaining([words]) as string[],
    });
  expect(await readFile(join(dataDir, "millrace.log"), "utf8")).toContain("disk of the broker's store is full");

  disk.clear();
  await expect
    .poll(async () => (await readiness(url)).reasons.filter((reason) => reason.includes("disk")), { timeout: 20_000 })
    .toEqual([]);
});

it("a process that does not know the broker's disk says that the broker does not store", async (context) => {
  await using stack = new AsyncDisposableStack();
  const disk = await mount(stack, context);
  await using nats = await TestNats.start({ storeDir: join(disk.folder, "store") });
  await using bus = await connectBus({ servers: nats.url, name: "test", topology: { storeDir: disk.folder } });
  await bus.ensureTopology();
  await bus.publishDurable("jobs.high.mail.send.before", new Uint8Array(10));
  expect(await probeBroker(bus)).toBeUndefined();
  disk.fill();
  const refused = bus.publishDurable("jobs.high.mail.send.after", new Uint8Array(100_000));
  const failed = refused.catch(() => undefined);
  await expect
    .poll(() => probeBroker(bus), { timeout: 20_000 })
    // Old ones answer nothing on the connection that the message came by.
    .toMatch(
      /^the broker has not (answered within 1500 ms|stored a message for \d+ s: .*(no space left on|it does not answer))/,
    );
  await failed;
});
