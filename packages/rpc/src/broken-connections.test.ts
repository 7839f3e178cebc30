/** What callers hear when the broker, its connections or a server fails under their calls: never nothing. */
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats } from "@millrace/bus/testing";
import { JobService } from "@millrace/protocol";
import { expect, test } from "vitest";
import { createNatsTransport, type NatsTransportOptions } from "./nats-transport.ts";
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
