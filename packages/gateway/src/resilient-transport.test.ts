import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { JobService, MillraceError } from "@millrace/protocol";
import { bindService, createDirectTransport, createPipeline } from "@millrace/rpc";
import { createMetrics } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { idleSocketMs } from "./create-rest-server.ts";
import { createResilientTransport, defaultResilience } from "./resilient-transport.ts";

function setUp(limits: Partial<typeof defaultResilience> = {}) {
  const calls = { get: 0, submit: 0, watch: 0, away: false };
  const waiting: (() => void)[] = [];
  const jobs: Partial<ServiceImpl<typeof JobService>> = {
    getJob({ id }) {
      calls.get++;
      if (id === "hangs") return new Promise<never>(() => {});
      if (calls.away || (id === "once" && calls.get === 1))
        throw new MillraceError("unavailable", "the database is away");
      if (id === "missing") throw new MillraceError("not_found", "no job missing");
      return { job: { id } };
    },
    async *watchJob({ id }, { signal }) {
      calls.watch++;
      if (calls.away) throw new MillraceError("unavailable", "the event stream is away");
      if (id === "silent") await new Promise((resolve) => signal.addEventListener("abort", resolve));
      for (let n = 0; n < 3; n++) yield { position: String(n) };
      if (id === "cut") throw new MillraceError("unavailable", "the feed has ended");
    },
    async submitJob({ type }) {
      calls.submit++;
      if (type === "held") await new Promise<void>((resolve) => waiting.push(resolve));
      if (calls.away) throw new MillraceError("unavailable", "the broker is away");
      return { id: "a" };
    },
  };
  const pipeline = createPipeline({ services: [bindService(JobService, jobs as ServiceImpl<typeof JobService>)] });
  const metrics = createMetrics();
  const transport = createResilientTransport(createDirectTransport(pipeline), metrics, {
    ...defaultResilience,
    ...limits,
  });
  return { client: createClient(JobService, transport), calls, metrics, release: () => waiting.forEach((go) => go()) };
}

const failure = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  );

test("a read is tried again, a write is not", async () => {
  const { client, calls, metrics } = setUp();
  expect((await client.getJob({ id: "once" })).job?.id).toBe("once");
  expect(calls.get).toBe(2);
  calls.away = true;
  expect((await failure(client.submitJob({ type: "t" })))?.rawMessage).toBe("the broker is away");
  expect(calls.submit).toBe(1);
  expect((await metrics.expose()).text).toContain(
    'millrace_upstream_retries_total{service="millrace.jobs.v1.JobService"} 1',
  );
});

test("a method that keeps failing is not called for a while; others are", async () => {
  const { client, calls, metrics } = setUp({ failuresToOpen: 3, openMs: 50 });
  calls.away = true;
  for (let n = 0; n < 3; n++) await failure(client.submitJob({ type: "t" }));
  const refused = await failure(client.submitJob({ type: "t" }));
  expect(refused).toMatchObject({ code: Code.Unavailable, rawMessage: "the service does not answer" });
  expect(refused?.metadata.get("retry-after")).toBe("1");
  expect(calls.submit).toBe(3);
  calls.away = false;
  expect((await client.getJob({ id: "a" })).job?.id).toBe("a");
  expect((await metrics.expose()).text).toMatch(/upstream_open_breakers\{.*\} 1/);
  await expect.poll(() => failure(client.submitJob({ type: "t" }))).toBeUndefined();
  expect((await metrics.expose()).text).toMatch(/upstream_open_breakers\{.*\} 0/);
});

test("what callers do wrong opens nothing", async () => {
  const { client, calls } = setUp({ failuresToOpen: 3 });
  for (let n = 0; n < 9; n++) expect((await failure(client.getJob({ id: "missing" })))?.code).toBe(Code.NotFound);
  expect(calls.get).toBe(9);
});

test("calls that hang leave room for no more than there is, and end by the timeout", async () => {
  const { client, metrics, release } = setUp({ maxPerService: 2, timeoutMs: 5_000 });
  const held = [client.submitJob({ type: "held" }), client.submitJob({ type: "held" })];
  expect(await failure(client.submitJob({ type: "t" }))).toMatchObject({ code: Code.Unavailable });
  expect((await metrics.expose()).text).toMatch(/upstream_rejections_total\{.*reason="full"\} 1/);
  release();
  await Promise.all(held);
  const slow = setUp({ timeoutMs: 20 });
  const unanswered = await failure(slow.client.submitJob({ type: "held" }));
  expect(unanswered).toMatchObject({ code: Code.Unavailable });
  expect(unanswered?.rawMessage).toBe("the service has not answered within 20 ms: it may have been done");
  expect(unanswered?.metadata.get("retry-after")).toBe("1");
  // Who waits for a job's end by its own wish waits for as long on top; who has a deadline hears of that.
  const waiting = slow.client.submitJob({ type: "held", waitMs: 100 });
  await new Promise((resolve) => setTimeout(resolve, 60));
  slow.release();
  expect((await waiting).id).toBe("a");
  const call = slow.client.submitJob({ type: "held" }, { timeoutMs: 10 });
  expect(await failure(call)).toMatchObject({ code: Code.DeadlineExceeded });
});

test("streams that do not open open the breaker of their method; those that open do not, however they end", async () => {
  const { client, calls, metrics } = setUp({ failuresToOpen: 3, openMs: 50 });
  const watch = async (id: string): Promise<number> => {
    let count = 0;
    for await (const _ of client.watchJob({ id })) count++;
    return count;
  };
  for (let n = 0; n < 9; n++) expect(await failure(watch("cut"))).toMatchObject({ rawMessage: "the feed has ended" });
  expect(await watch("a")).toBe(3);

  calls.away = true;
  for (let n = 0; n < 3; n++) expect((await failure(watch("a")))?.rawMessage).toBe("the event stream is away");
  await expect.poll(async () => (await failure(watch("a")))?.rawMessage).toBe("the service does not answer");
  const { text } = await metrics.expose();
  expect(text).toMatch(/upstream_open_breakers\{.*\} 1/);
  expect(text).toMatch(/upstream_rejections_total\{.*reason="open"\} [1-9]/);
  calls.away = false;
  await expect.poll(() => watch("a").catch(() => 0)).toBe(3);
  expect((await metrics.expose()).text).toMatch(/upstream_open_breakers\{.*\} 0/);
});

test("streams take room while they are opened, and none once they are open", async () => {
  const { client, metrics } = setUp({ maxPerService: 1, streamSilenceMs: 200 });
  const stop = new AbortController();
  const silent = failure(
    client.watchJob({ id: "silent" }, { signal: stop.signal })[Symbol.asyncIterator]().next() as Promise<unknown>,
  );
  expect(await failure(client.submitJob({ type: "t" }))).toMatchObject({ rawMessage: "the service does not answer" });
  expect((await metrics.expose()).text).toMatch(/upstream_rejections_total\{.*reason="full"\} 1/);
  await expect.poll(() => failure(client.submitJob({ type: "t" }))).toBeUndefined();
  stop.abort();
  await silent;
});

test("a call that is over before it begins ends as its signal says", async () => {
  const { client, calls } = setUp();
  const late = AbortSignal.abort(new ConnectError("too late", Code.DeadlineExceeded));
  expect(await failure(client.getJob({ id: "a" }, { signal: late }))).toMatchObject({ code: Code.DeadlineExceeded });
  expect(await failure(client.getJob({ id: "a" }, { signal: AbortSignal.abort() }))).toMatchObject({
    code: Code.Canceled,
  });
  expect(calls.get).toBe(0);
});

test("the bound holds for all attempts of a read together", async () => {
  const { client, calls } = setUp({ timeoutMs: 50 });
  expect(await failure(client.getJob({ id: "hangs" }))).toMatchObject({
    code: Code.Unavailable,
    rawMessage: "the service has not answered within 50 ms",
  });
  expect(calls.get).toBe(1);
});

test("a call whose answer is lost is answered before its connection is cut", () => {
  const longestWaitMs = 60_000;
  expect(defaultResilience.timeoutMs + longestWaitMs).toBeLessThan(idleSocketMs - 10_000);
  expect(defaultResilience.longTimeoutMs).toBeLessThan(idleSocketMs - 10_000);
});
