import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { Health, JobService, Role } from "@millrace/protocol";
import { anonymous, CallContext, type Identity } from "@millrace/rpc";
import { createMetrics } from "@millrace/service-kit";
import { expect, test } from "vitest";
import { startGuarded, type Guarded } from "./guard-fixture.ts";
import { OpenStreams } from "./open-streams.ts";
import { createRefusals } from "./refusals.ts";

/** A loaded machine is not what is tested here. */
const patient = { timeout: 10_000 };
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Watches jobs, which never happen, by a door. Resolves with how the stream ended. */
type Watch = (guarded: Guarded, headers: Record<string, string>) => Promise<string>;

async function byRest({ gateway }: Guarded, headers: Record<string, string>): Promise<string> {
  const answer = await fetch(`${gateway.httpUrl}/api/v1/events`, { headers });
  const text = await answer.text();
  return /"code":"(\w+)"/.exec(text)?.[1] ?? text;
}

const byTransport =
  (transport: (guarded: Guarded) => Parameters<typeof createClient>[1]): Watch =>
  async (guarded, headers) => {
    try {
      for await (const _ of createClient(JobService, transport(guarded)).watchJobs({}, { headers }));
      return "ended";
    } catch (reason) {
      return Code[ConnectError.from(reason).code].toLowerCase();
    }
  };

const doors: Record<string, Watch> = {
  REST: byRest,
  gRPC: byTransport(({ gateway }) => createGrpcTransport({ baseUrl: `http://${gateway.grpcAddress}` })),
  "gRPC-web": byTransport(({ gateway }) => createGrpcWebTransport({ baseUrl: gateway.httpUrl, httpVersion: "1.1" })),
};

test.for(Object.entries(doors))("%s: a stream ends when who opened it may not go on", async ([, watch]) => {
  let open = 0;
  await using guarded = await startGuarded(
    {},
    {
      async *watchJobs(_request, { signal }) {
        open += 1;
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        open -= 1;
        yield {};
      },
    },
  );
  const { identity } = guarded;
  const access = async (sid: string, sub: string, claims = {}) =>
    bearer(await identity.accessToken([Role.VIEWER], { sid, sub, ...claims }));
  const ended: Record<string, string> = {};
  const streams = Object.entries({
    session: await access("s1", "u1"),
    user: await access("s3", "u3"),
    token: bearer(identity.apiToken("t1", ["jobs:read"])),
    stays: await access("s4", "u4"),
  }).map(([name, headers]) => watch(guarded, headers).then((how) => (ended[name] = how)));
  await expect.poll(() => open, patient).toBe(streams.length);
  identity.revoke({ sessionIds: ["s1"] });
  identity.revoke({ user: "u3" });
  identity.revoke({ tokenIds: ["t1"] });
  await expect.poll(() => Object.keys(ended).length, patient).toBe(3);
  const soon = Math.floor(Date.now() / 1000) + 1;
  ended["expiry"] = await watch(guarded, await access("s5", "u5", { exp: soon }));
  expect(ended).toEqual({
    session: "unauthenticated",
    user: "unauthenticated",
    token: "unauthenticated",
    expiry: "unauthenticated",
  });
  // The services behind hear of it, too.
  await expect.poll(() => open, patient).toBe(1);
  identity.revoke({ sessionIds: ["s4"] });
  await Promise.all(streams);
});

test("a stream of an API token ends, to be opened again, when its owner may do something else", async () => {
  await using guarded = await startGuarded(
    {},
    {
      async *watchJobs(_request, { signal }) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
        yield {};
      },
    },
  );
  const token = bearer(guarded.identity.apiToken("t1", ["jobs:read"]));
  let ended = "";
  void byRest(guarded, token).then((how) => (ended = how));
  await expect.poll(() => guarded.identity.findTokenCalls, patient).toBe(1);
  await expect
    .poll(
      () => {
        guarded.identity.revoke({ user: "u2" });
        return ended;
      },
      { timeout: 2_000 },
    )
    .toBe("unavailable");
});

test("nobody takes the streams of others", async () => {
  await using guarded = await startGuarded();
  const client = createClient(Health, createGrpcTransport({ baseUrl: `http://${guarded.gateway.grpcAddress}` }));
  const stop = new AbortController();
  const seen: string[] = [];
  const watch = async (): Promise<void> => {
    try {
      for await (const { status } of client.watch({}, { signal: stop.signal })) seen.push(String(status));
    } catch (reason) {
      if (!stop.signal.aborted) seen.push(Code[ConnectError.from(reason).code]);
    }
  };
  const watching = Array.from({ length: 100 }, watch);
  await expect.poll(() => seen.length, patient).toBe(100);
  await watch();
  expect(seen).toEqual([...Array.from({ length: 100 }, () => "1"), "ResourceExhausted"]);
  stop.abort();
  await Promise.all(watching);
});

test("one user has a share of the streams, and gets back what ends", () => {
  using streams = new OpenStreams(
    () => "",
    createRefusals(createMetrics()),
    () => undefined,
  );
  const callOf = (subject: string): CallContext => {
    const call = new CallContext({
      method: JobService.method.watchJobs,
      protocolName: "rest",
      requestMethod: "GET",
      url: "",
      headers: {},
    });
    call.identity = { ...anonymous, subject } satisfies Identity;
    return call;
  };
  const open = Array.from({ length: 500 }, () => streams.open(callOf("ada")));
  expect(() => streams.open(callOf("ada"))).toThrow("too many open streams");
  streams.open(callOf("bob"))[Symbol.dispose]();
  open[0]?.[Symbol.dispose]();
  streams.open(callOf("ada"));
});
