import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connectBus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { openStore } from "@millrace/store";
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

async function newDataDir(): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), "millrace-standalone-"));
  stack.push(() => rm(dataDir, { recursive: true, force: true }));
  return dataDir;
}

async function run(env: Record<string, string> = {}, given?: string): Promise<Run> {
  const dataDir = given ?? (await newDataDir());
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

/** The administrator's, as the first start wrote it. */
async function tokenOf({ dataDir }: Run): Promise<string> {
  const text = await readFile(join(dataDir, "credentials.json"), "utf8");
  return (JSON.parse(text) as { token: string }).token;
}

/** The status of a call as the owner of this token; nobody's when empty. */
async function statusOf(system: Run, path: string, token: string): Promise<number> {
  const headers = token === "" ? {} : { authorization: `Bearer ${token}` };
  return (await fetch(`${urlIn(system.output())}/api/v1/${path}`, { headers })).status;
}

test("two systems run side by side, and stop in order with their nats-server", async () => {
  const systems = [await run(), await run()];
  for (const { says } of systems) await says("Ctrl-C stops it in order.");
  const ids = await Promise.all(
    systems.map(async (system) => {
      const response = await fetch(`${urlIn(system.output())}/api/v1/jobs`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${await tokenOf(system)}` },
        body: JSON.stringify({ type: "audit", payload: { json: { type: "user.login" } }, waitMs: 10_000 }),
      });
      expect(response.status).toBe(200);
      return ((await response.json()) as { id: string }).id;
    }),
  );
  const [first, second] = systems;
  if (first === undefined || second === undefined) throw new Error("two were started");
  expect(await statusOf(first, `jobs/${ids[0]}`, await tokenOf(first))).toBe(200);
  expect(await statusOf(second, `jobs/${ids[0]}`, await tokenOf(second))).toBe(404);
  expect(await statusOf(second, `jobs/${ids[0]}`, await tokenOf(first))).toBe(401);
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

test("a start that fails says what and why to whoever sits there", async () => {
  const elsewhere = await run({ MILLRACE_HOST: "192.0.2.1" });
  expect(await elsewhere.ended).toBe(1);
  expect(elsewhere.output()).toContain("192.0.2.1 is no address of this machine: set MILLRACE_HOST");
  const dataDir = await newDataDir();
  const file = join(dataDir, "file");
  await writeFile(file, "");
  const blocked = await run({ MILLRACE_DATA_DIR: file });
  expect(await blocked.ended).toBe(1);
  expect(blocked.output()).toMatch(/^Millrace does not start: EEXIST: .*file'$/m);
  const noDatabase = await run({ DATABASE_URL: "postgres://me:hidden@127.0.0.1:1/x", MILLRACE_PLUGINS_DIR: "" });
  expect(await noDatabase.ended).toBe(1);
  expect(noDatabase.output()).toMatch(/^Millrace does not start: .*connect ECONNREFUSED 127\.0\.0\.1:1$/m);
  expect(noDatabase.output()).not.toContain("hidden");
}, 120_000);

test("the first start makes an administrator, whose password is shown once and whose token stays", async () => {
  const first = await run({}, join(await newDataDir(), "data"));
  await first.says("Ctrl-C stops it in order.");
  expect((await stat(first.dataDir)).mode & 0o777).toBe(0o700);
  const [, password = ""] = /^ +Password +(\S+)$/m.exec(first.output()) ?? [];
  expect(first.output()).toContain("admin@localhost");
  for (const file of ["credentials.json", "key.secret"]) {
    expect((await stat(join(first.dataDir, file))).mode & 0o777).toBe(0o600);
  }
  const token = await tokenOf(first);
  expect(await statusOf(first, "users", token)).toBe(200);
  expect(await statusOf(first, "users", "")).toBe(401);
  expect(await statusOf(first, "jobs", `${token}x`)).toBe(401);
  const login = await fetch(`${urlIn(first.output())}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "Admin@localhost", password }),
  });
  expect(await login.json()).toMatchObject({ user: { email: "admin@localhost", passwordExpired: true } });
  first.child.kill("SIGINT");
  expect(await first.ended).toBe(0);

  const second = await run({}, first.dataDir);
  await second.says("Ctrl-C stops it in order.");
  expect(second.output()).not.toContain("Password");
  expect(await tokenOf(second)).toBe(token);
  expect(await statusOf(second, "users", token)).toBe(200);
  second.child.kill("SIGINT");
  expect(await second.ended).toBe(0);

  // The keys in the database open with the secret of the data folder only.
  const third = await run({ MILLRACE_KEY_SECRET: "00".repeat(32) }, first.dataDir);
  expect(await third.ended).toBe(1);
  expect(third.output()).toContain("Millrace does not start: the signing keys in the database were encrypted with");
}, 120_000);

test("without identity nobody is asked, and it listens for this machine only", async () => {
  const open = await run({ MILLRACE_IDENTITY: "off" });
  await open.says("Ctrl-C stops it in order.");
  expect(open.output()).not.toContain("authorization");
  expect(await statusOf(open, "jobs", "")).toBe(200);
  expect(await statusOf(open, "users", "")).toBe(404);
  await expect(tokenOf(open)).rejects.toThrow("ENOENT");

  const wide = await run({ MILLRACE_IDENTITY: "off", MILLRACE_HOST: "0.0.0.0" });
  expect(await wide.ended).toBe(1);
  expect(wide.output()).toContain("MILLRACE_HOST");
  expect(wide.output()).toContain("loopback");
}, 120_000);

test("with identity it may listen for other machines", async () => {
  const wide = await run({ MILLRACE_HOST: "0.0.0.0" });
  await wide.says("Ctrl-C stops it in order.");
  expect(wide.output()).toMatch(/From elsewhere +npm .* login --server http:\/\/(?!0\.0\.0\.0)[^ ]+:\d+ --email/);
}, 120_000);

test("a start that a former version's jobs forbid leaves database and broker as they were", async () => {
  await using nats = await startTestNats();
  await using bus = await connectBus({ servers: nats.url, name: "test" });
  const former = { name: "JOBS_HIGH", subjects: ["jobs.high.>"], retention: "workqueue", storage: "file" };
  const body = new TextEncoder().encode(JSON.stringify(former));
  await bus.request("$JS.API.STREAM.CREATE.JOBS_HIGH", body, { timeoutMs: 5000 });
  await bus.publishDurable("jobs.high.mail.send", new Uint8Array(2));
  const streams = async (): Promise<unknown> => {
    const answer = await bus.request("$JS.API.STREAM.NAMES", new Uint8Array(0), { timeoutMs: 5000 });
    return (JSON.parse(new TextDecoder().decode(answer.data)) as { streams: unknown }).streams;
  };

  const refused = await run({ NATS_URL: nats.url });
  expect(await refused.ended).toBe(1);
  expect(refused.output()).toMatch(/JOBS_HIGH is of a former version, and holds 1 jobs: .*`millrace upgrade streams`/);
  expect(await streams()).toEqual(["JOBS_HIGH"]);
  await using store = await openStore({ dataDir: join(refused.dataDir, "postgres") });
  await expect(store.settings.list()).rejects.toThrow(/relation "settings" does not exist/);
}, 120_000);
