/** Who watches through a gateway hears of everything once, whatever fails behind it. */
import { connectBus, type Bus } from "@millrace/bus";
import { startTestNats, type TestNats } from "@millrace/bus/testing";
import { bookmarksHeader, JobService, JobState, MillraceError, PluginRuntimeService } from "@millrace/protocol";
import {
  bindService,
  createClient,
  createPipeline,
  openNatsTransport,
  serveNats,
  type ServiceImpl,
} from "@millrace/rpc";
import { createLogger, createMetrics, Health } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { readGatewayConfig } from "./config.ts";
import { createResilientTransport } from "./resilient-transport.ts";
import { createResumingTransport } from "./resuming-transport.ts";
import { startGateway } from "./start-gateway.ts";

/** What all instances of a small control read: places from 1, and who waits for the next. */
class EventLog {
  last = 0;
  first = 1;
  #next = Promise.withResolvers<void>();

  append(count = 1): void {
    this.last += count;
    this.#next.resolve();
    this.#next = Promise.withResolvers();
  }

  async *follow(after: number, signal: AbortSignal): AsyncGenerator<number> {
    const gone = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    for (let place = after + 1; !signal.aborted; place += 1) {
      while (place > this.last && !signal.aborted) await Promise.race([this.#next.promise, gone]);
      if (!signal.aborted) yield place;
    }
  }

  placeOf(resumeAfter: string): number {
    if (Number(resumeAfter) + 1 < this.first) throw new MillraceError("failed_precondition", "is no longer kept");
    return Number(resumeAfter);
  }
}

interface Control extends AsyncDisposable {
  readonly bus: Bus;
  /** Watches that run here. */
  open: number;
}

async function startControl(nats: TestNats, log: EventLog): Promise<Control> {
  const bus = await connectBus({ servers: nats.url, name: "control" });
  const watched = async function* <T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
    control.open += 1;
    try {
      yield* messages;
    } finally {
      control.open -= 1;
    }
  };
  const jobs: Partial<ServiceImpl<typeof JobService>> = {
    watchJobs: ({ resumeAfter }, { signal, requestHeader }) =>
      watched(
        (async function* () {
          const after = resumeAfter === "" ? log.last : log.placeOf(resumeAfter);
          if (requestHeader.has(bookmarksHeader)) yield { position: String(after) };
          for await (const place of log.follow(after, signal)) yield { position: String(place), event: { jobId: "j" } };
        })(),
      ),
    watchJob: ({ resumeAfter, id }, { signal }) =>
      watched(
        (async function* () {
          const after = resumeAfter === "" ? log.last : log.placeOf(resumeAfter);
          const update = { case: "job", value: { id, position: String(after) } } as const;
          if (resumeAfter === "") yield { position: String(after), update };
          for await (const place of log.follow(after, signal)) {
            const state = id === "ends" ? JobState.SUCCEEDED : JobState.RUNNING;
            yield { position: String(place), update: { case: "event", value: { jobId: id, state } } };
          }
        })(),
      ),
  };
  const pipeline = createPipeline({
    // Of plugins it knows nothing, so that none stand before requests.
    services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>), [PluginRuntimeService, {}]],
  });
  const control: Control = { bus, open: 0, [Symbol.asyncDispose]: () => bus[Symbol.asyncDispose]() };
  serveNats(bus, pipeline);
  await bus.flush();
  return control;
}

async function setUp() {
  await using starting = new AsyncDisposableStack();
  const nats = starting.use(await startTestNats());
  const log = new EventLog();
  const control = starting.use(await startControl(nats, log));
  const transport = starting.use(await openNatsTransport("gateway", { natsUrl: nats.url }));
  const gateway = starting.use(
    await startGateway(
      { ...readGatewayConfig(), httpPort: 0, grpcPort: 0, drainMs: 0 },
      {
        transport,
        metrics: createMetrics(),
        health: new Health(),
        logger: createLogger({ name: "gateway", level: "silent" }),
      },
    ),
  );
  const stack = starting.move();
  return { nats, log, control, url: gateway.httpUrl, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

interface Watching extends AsyncDisposable {
  /** Ids of the events, in order. */
  readonly ids: number[];
  /** The whole text. */
  readonly text: () => string;
  readonly opened: Promise<void>;
  until(reached: () => boolean): Promise<void>;
}

/** A client of server-sent events that never comes back by itself. */
function watch(url: string): Watching {
  const stop = new AbortController();
  const opened = Promise.withResolvers<void>();
  const ids: number[] = [];
  let text = "";
  let wake = Promise.withResolvers<void>();
  const state = { over: false };
  const reading = (async () => {
    try {
      const response = await fetch(url, { signal: stop.signal });
      const body = response.body?.pipeThrough(new TextDecoderStream());
      if (body === undefined) return;
      for await (const piece of body) {
        text += piece;
        ids.splice(0, ids.length, ...[...text.matchAll(/^id: (\d+)\n/gm)].map(([, id]) => Number(id)));
        opened.resolve();
        wake.resolve();
        wake = Promise.withResolvers();
      }
    } catch (reason) {
      if (!stop.signal.aborted) text += String(reason);
    } finally {
      state.over = true;
      opened.resolve();
      wake.resolve();
    }
  })();
  return {
    ids,
    text: () => text,
    opened: opened.promise,
    async until(reached) {
      while (!reached() && !state.over) await wake.promise;
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await reading;
    },
  };
}

const numbers = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, n) => from + n);

test("through killed brokers and a killed control: no gap, no double, no error", { timeout: 60_000 }, async () => {
  await using system = await setUp();
  const { nats, log, control } = system;
  await using watching = watch(`${system.url}/api/v1/events`);
  await watching.opened;
  await expect.poll(() => control.open).toBe(1);
  const writing = setInterval(() => log.append(3), 2);
  try {
    for (let round = 0; round < 2; round += 1) {
      const before = watching.ids.length;
      await watching.until(() => watching.ids.length > before + 100);
      await nats.kill9();
      await nats.restart();
    }
    let before = watching.ids.length;
    await watching.until(() => watching.ids.length > before + 100);
    await using next = await startControl(nats, log);
    const [here, there] = control.open > 0 ? [control, next] : [next, control];
    await here.bus[Symbol.asyncDispose]();
    await expect.poll(() => there.open, { timeout: 10_000 }).toBe(1);
    before = watching.ids.length;
    await watching.until(() => watching.ids.length > before + 100);
    clearInterval(writing);
    await watching.until(() => watching.ids.at(-1) === log.last);
    expect(watching.text()).not.toMatch(/^event: error/m);
    expect(watching.ids).toEqual(numbers(watching.ids[0] ?? 0, log.last));
  } finally {
    clearInterval(writing);
  }
});

test("what happens while a watch that has heard of nothing is cut off is told after it", async () => {
  await using system = await setUp();
  const { nats, log, control } = system;
  log.append(7);
  await using watching = watch(`${system.url}/api/v1/events`);
  await watching.opened;
  await expect.poll(() => control.open).toBe(1);
  await nats.kill9();
  log.append(2);
  await nats.restart();
  await watching.until(() => watching.ids.length === 2);
  log.append(1);
  await watching.until(() => watching.ids.length === 3);
  expect([watching.ids, watching.text()]).toEqual([[8, 9, 10], expect.not.stringMatching(/event: error/)]);
});

test("a job whose place is no longer kept is shown as it stands; of all jobs the watch ends with the reason", async () => {
  await using system = await setUp();
  const { nats, log, control } = system;
  await using one = watch(`${system.url}/api/v1/jobs/a/events`);
  await using all = watch(`${system.url}/api/v1/events`);
  await Promise.all([one.opened, all.opened]);
  await expect.poll(() => control.open).toBe(2);
  await nats.kill9();
  log.append(5);
  log.first = 4;
  await nats.restart();
  await one.until(() => one.ids.length === 2);
  expect(one.ids).toEqual([0, 5]);
  await all.until(() => false);
  expect(all.text()).toMatch(/event: error\ndata: .*"failed_precondition".*no longer kept/);
});

test("a job's end is the end of its watch, also where the word that there is no more is lost", async () => {
  await using system = await setUp();
  const { log, control } = system;
  await using watching = watch(`${system.url}/api/v1/jobs/ends/events`);
  await watching.until(() => watching.ids.length === 1);
  log.append();
  await watching.until(() => watching.ids.length === 2);
  // Another would have no more to tell, and no row yet that says so.
  await using other = await startControl(system.nats, log);
  await control.bus[Symbol.asyncDispose]();
  await watching.until(() => false);
  expect(watching.text()).toMatch(/event: end\ndata: \{\}\n\n$/);
  expect(other.open).toBe(0);
});

test("without a control for too long a watch ends, and says where to go on", async () => {
  await using system = await setUp();
  const { log, control } = system;
  await using transport = await openNatsTransport("gateway", { natsUrl: system.nats.url });
  const metrics = createMetrics();
  const resuming = createResumingTransport(createResilientTransport(transport, metrics), metrics, {
    giveUpMs: 500,
    steadyMs: 5_000,
  });
  const watched = createClient(JobService, resuming).watchJobs({});
  const iterator = watched[Symbol.asyncIterator]();
  const next = iterator.next();
  await expect.poll(() => control.open).toBe(1);
  log.append();
  expect((await next).value?.position).toBe("1");
  await control.bus[Symbol.asyncDispose]();
  await expect(iterator.next()).rejects.toThrow(/\[unavailable\] .*; resume after 1$/);
});
