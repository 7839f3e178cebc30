/** What callers hear when the broker, its connections or a server fails under their calls: never nothing. */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { connectBus, probeBroker, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { JobService } from "@millrace/protocol";
import { expect, test } from "vitest";
import { decodeFrame, frameKinds } from "./nats-frame.ts";
import { createNatsTransport } from "./nats-transport.ts";
import type { NatsTransportOptions } from "./pending-calls.ts";
import { bindService, createPipeline } from "./pipeline.ts";
import { serveNats, type ServeNatsOptions } from "./serve-nats.ts";

/** Short, for tests that wait for them. */
const quick: NatsTransportOptions = { probeMs: 200, silentMs: 1_500, unheardMs: 1_500, askAgainMs: 300 };
const quickServer: ServeNatsOptions = { takenAfterMs: 50, abandonedMs: 1_500 };

interface Instance extends AsyncDisposable {
  readonly bus: Bus;
  /** Calls that came here, by method and id. */
  readonly calls: string[];
  onCall: () => void;
  /** Streams that run. */
  open: number;
  answering: boolean;
  /** As `kill -9` does: the connection is gone, and nothing was said. */
  kill(): Promise<void>;
}

async function startInstance(url: string): Promise<Instance> {
  const stack = new AsyncDisposableStack();
  const bus = stack.use(await connectBus({ servers: url, name: "server" }));
  const hold = (): Promise<void> => (instance.answering ? Promise.resolve() : new Promise(() => {}));
  const heard = (call: string): void => {
    instance.calls.push(call);
    instance.onCall();
  };
  const jobs: Partial<ServiceImpl<typeof JobService>> = {
    async submitJob({ id }) {
      heard(`submit ${id}`);
      await hold();
      return { id };
    },
    async getJob({ id }) {
      heard(`get ${id}`);
      await hold();
      return { job: { id } };
    },
    async streamJobs(requests) {
      let accepted = 0n;
      for await (const _request of requests) {
        heard(`upload ${accepted}`);
        accepted += 1n;
      }
      return { accepted };
    },
    async *watchJobs({ resumeAfter, queue }, { signal }) {
      heard(`watch ${resumeAfter}`);
      instance.open += 1;
      try {
        for (let n = Number(resumeAfter) + 1; !signal.aborted; n += 1) {
          yield { position: String(n), event: { jobId: "j" } };
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, queue === "quiet" ? 60_000 : 2);
            signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
          });
        }
      } finally {
        instance.open -= 1;
      }
    },
  };
  const pipeline = createPipeline({ services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>)] });
  const instance: Instance = {
    bus,
    calls: [],
    onCall() {},
    open: 0,
    answering: true,
    kill: () => bus[Symbol.asyncDispose](),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
  stack.use(serveNats(bus, pipeline, quickServer));
  await bus.flush();
  return instance;
}

interface ServingProcess extends AsyncDisposable {
  send(signal: NodeJS.Signals): void;
  /** Resolves when it has said so. */
  said(line: string): Promise<void>;
}

async function startProcess(url: string): Promise<ServingProcess> {
  const script = fileURLToPath(new URL("fixture-process.ts", import.meta.url));
  const child = spawn(process.execPath, [script, url], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  const lines = new Set<string>();
  const state = { over: false };
  let wake = Promise.withResolvers<void>();
  void exited.then(() => {
    state.over = true;
    wake.resolve();
  });
  createInterface(child.stdout).on("line", (line) => {
    lines.add(line);
    wake.resolve();
    wake = Promise.withResolvers();
  });
  const served: ServingProcess = {
    send: (signal) => void child.kill(signal),
    async said(line) {
      while (!lines.has(line)) {
        if (state.over) throw new Error(`the process ended without saying ${line}`);
        await wake.promise;
      }
    },
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exited;
    },
  };
  await served.said("ready");
  return served;
}

async function signalBroker(nats: TestNats, signal: NodeJS.Signals): Promise<void> {
  process.kill(Number(await readFile(join(nats.dataDir, "nats.pid"), "utf8")), signal);
}

/** How long it takes, ms. */
async function duration(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work;
  return performance.now() - startedAt;
}

const outcome = (call: Promise<unknown>): Promise<ConnectError | undefined> =>
  call.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );

test("a watcher misses nothing without being told, whatever is lost with the broker", async () => {
  await using nats = await startTestNats();
  await using server = await startInstance(nats.url);
  await using bus = await connectBus({ servers: nats.url, name: "client" });
  await using transport = createNatsTransport(bus, quick);
  const jobs = createClient(JobService, transport);
  for (let round = 0; round < 3; round += 1) {
    let last = 0;
    const reached = Promise.withResolvers<void>();
    const watching = outcome(
      (async () => {
        for await (const { position } of jobs.watchJobs({})) {
          if (Number(position) !== last + 1) throw new RangeError(`${position} came after ${last}`);
          last += 1;
          if (last === 100) reached.resolve();
        }
      })(),
    );
    await reached.promise;
    await nats.kill9();
    await nats.restart();
    expect(await watching).toMatchObject({ code: Code.Unavailable });
    await expect.poll(() => server.open).toBe(0);
    await Promise.all([bus.whenConnected(), server.bus.whenConnected()]);
    await server.bus.flush();
  }
});

test("calls at a server that is killed fail within seconds, and what only reads is answered by another", async () => {
  await using nats = await startTestNats();
  await using killed = await startProcess(nats.url);
  await using bus = await connectBus({ servers: nats.url, name: "client" });
  await using transport = createNatsTransport(bus);
  const jobs = createClient(JobService, transport);
  // A call that nobody has taken yet waits for as long as one that is lost.
  const taken = Promise.withResolvers<void>();
  let count = 0;
  using listening = bus.subscribe("_INBOX.>", {}, ({ data }) => {
    if (data.byteLength > 0 && decodeFrame(data).kind === frameKinds.taken && (count += 1) === 2) taken.resolve();
  });
  const submitted = outcome(jobs.submitJob({ type: "t", id: "w" }));
  const read = jobs.getJob({ id: "r" });
  const watched = outcome(
    (async () => {
      for await (const _ of jobs.watchJobs({ resumeAfter: "7" }));
    })(),
  );
  await Promise.all(["submit w", "get r", "watch 7"].map((line) => killed.said(line)));
  await using other = await startInstance(nats.url);
  await taken.promise;
  // Who listens where the server was would be taken for it.
  listening[Symbol.dispose]();
  await bus.flush();
  killed.send("SIGKILL");
  const tookMs = await duration(Promise.all([submitted, read, watched]));
  expect(await submitted).toMatchObject({
    code: Code.Unavailable,
    rawMessage: expect.stringContaining("may have been done"),
  });
  expect((await read).job?.id).toBe("r");
  expect(await watched).toMatchObject({ code: Code.Unavailable });
  expect(other.calls).toEqual(["get r"]);
  expect(tookMs).toBeLessThan(4_000);
});

test("a server that hangs is given up, and so are its calls", async () => {
  await using nats = await startTestNats();
  await using hung = await startProcess(nats.url);
  await using bus = await connectBus({ servers: nats.url, name: "client" });
  await using transport = createNatsTransport(bus, quick);
  const jobs = createClient(JobService, transport);
  const submitted = outcome(jobs.submitJob({ type: "t", id: "w" }));
  const watched = outcome(
    (async () => {
      for await (const _ of jobs.watchJobs({}));
    })(),
  );
  await Promise.all(["submit w", "watch "].map((line) => hung.said(line)));
  hung.send("SIGSTOP");
  // The broker does not know, and gives it what comes in: only one that another gets is answered.
  const late = outcome(jobs.submitJob({ type: "t", id: "late" }));
  await using other = await startInstance(nats.url);
  void other;
  const tookMs = await duration(Promise.all([submitted, watched, late]));
  for (const call of [submitted, watched, late]) expect(await call).toMatchObject({ code: Code.Unavailable });
  expect((await late)?.rawMessage).toMatch(/no server has taken the call in time: it may have been done/);
  expect(tookMs).toBeLessThan(4_000);
  expect((await jobs.getJob({ id: "r" })).job?.id).toBe("r");
});

test("every call is answered while the broker hangs, and the next ones at once, until it goes on", async () => {
  await using nats = await startTestNats();
  await using server = await startInstance(nats.url);
  await using bus = await connectBus({ servers: nats.url, name: "client" });
  await using transport = createNatsTransport(bus, {
    ...quick,
    silentMs: 3_000,
    unheardMs: 3_000,
    brokerSilentMs: 1_000,
  });
  const jobs = createClient(JobService, transport);
  server.answering = false;
  const inHand = outcome(jobs.submitJob({ type: "t", id: "a" }));
  const watched = outcome(
    (async () => {
      for await (const _ of jobs.watchJobs({ queue: "quiet" }));
    })(),
  );
  await expect.poll(() => server.calls).toEqual(expect.arrayContaining(["submit a", "watch "]));
  await signalBroker(nats, "SIGSTOP");
  try {
    const late = outcome(jobs.getJob({ id: "b" }));
    expect(await duration(Promise.all([inHand, watched, late]))).toBeLessThan(6_000);
    for (const call of [inHand, watched, late]) expect(await call).toMatchObject({ code: Code.Unavailable });
    const next = outcome(jobs.submitJob({ type: "t", id: "c" }));
    expect(await duration(next)).toBeLessThan(100);
    expect((await next)?.rawMessage).toBe("the broker does not answer");
    expect(await probeBroker(bus, 100)).toBe("the broker has not answered within 100 ms");
  } finally {
    await signalBroker(nats, "SIGCONT");
  }
  server.answering = true;
  await expect.poll(async () => (await jobs.getJob({ id: "d" })).job?.id, { timeout: 5_000 }).toBe("d");
  await expect.poll(() => server.open).toBe(0);
  expect(await probeBroker(bus)).toBeUndefined();
  await nats.kill9();
  await expect.poll(() => probeBroker(bus)).toBe("no connection to the broker");
});

test("an upload whose frames are lost ends, at both ends", async () => {
  await using nats = await startTestNats();
  await using server = await startInstance(nats.url);
  await using bus = await connectBus({ servers: nats.url, name: "client" });
  await using transport = createNatsTransport(bus, quick);
  const jobs = createClient(JobService, transport);
  const under = Promise.withResolvers<void>();
  server.onCall = () => {
    if (server.calls.length === 100) under.resolve();
  };
  let stopped = false;
  const uploaded = outcome(
    jobs.streamJobs(
      (async function* () {
        try {
          for (let n = 0; ; n += 1) {
            yield { type: "t", id: `u${n}` };
            if (n % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          stopped = true;
        }
      })(),
    ),
  );
  await under.promise;
  await nats.kill9();
  await nats.restart();
  expect(await uploaded).toMatchObject({ code: Code.Unavailable });
  expect(stopped).toBe(true);
});

test("a server that stops in order answers what it has, and those who ask meanwhile wait", async () => {
  await using nats = await startTestNats();
  const bus = await connectBus({ servers: nats.url, name: "client" });
  await using serverBus = await connectBus({ servers: nats.url, name: "server" });
  await using transport = createNatsTransport(bus, { ...quick, probeMs: 20 });
  const reached = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const impl: Partial<ServiceImpl<typeof JobService>> = {
    async submitJob({ id }) {
      reached.resolve();
      await held.promise;
      return { id };
    },
  };
  const pipeline = createPipeline({ services: [bindService(JobService, impl as ServiceImpl<typeof JobService>)] });
  const server = serveNats(serverBus, pipeline, quickServer);
  await serverBus.flush();
  const call = createClient(JobService, transport).submitJob({ type: "t", id: "a" });
  await reached.promise;
  const stopped = server[Symbol.asyncDispose]();
  await new Promise((resolve) => setTimeout(resolve, 200));
  held.resolve();
  expect((await call).id).toBe("a");
  await stopped;
  await bus[Symbol.asyncDispose]();
});
