/** What callers hear while identity is slow or away: that it cannot be told who they are, and never that they call too much. */
import { Role } from "@millrace/protocol";
import { afterEach, expect, test, vi } from "vitest";
import { startGuarded, type Guarded } from "./guard-fixture.ts";

afterEach(() => vi.useRealTimers());

interface Answer {
  readonly status: number;
  readonly retryAfter: string | null;
}

async function call({ gateway }: Guarded, token: string): Promise<Answer> {
  const url = `${gateway.httpUrl}/api/v1/jobs/a-b`;
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  await response.body?.cancel();
  return { status: response.status, retryAfter: response.headers.get("retry-after") };
}

const away: Answer = { status: 503, retryAfter: "1" };
const many = <T>(count: number, make: (n: number) => T): T[] => Array.from({ length: count }, (_, n) => make(n));

test("a token that cannot be checked is nobody's failure: it is looked up once for all calls, and let in afterwards", async () => {
  await using guarded = await startGuarded({ strangerRate: 1, strangerBurst: 4 });
  const { identity } = guarded;
  const token = identity.apiToken("t", ["jobs:read"]);
  identity.hangs = true;
  const startedAt = performance.now();
  expect(await Promise.all(many(30, () => call(guarded, token)))).toEqual(many(30, () => away));
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect(identity.findTokenCalls).toBe(1);

  identity.hangs = false;
  identity.away = true;
  for (let n = 0; n < 10; n += 1) expect(await call(guarded, token)).toEqual(away);
  for (let n = 0; n < 10; n += 1) {
    const session = await identity.accessToken([Role.VIEWER], { sid: `s${n}` });
    expect(await call(guarded, session)).toEqual(away);
  }
  identity.away = false;
  // Identity is asked again after a moment.
  await expect.poll(async () => (await call(guarded, token)).status, { timeout: 5_000 }).toBe(200);
});

test("beyond the rate of strangers too, while nothing can be checked; then it counts again", async () => {
  await using guarded = await startGuarded({ strangerRate: 0.1, strangerBurst: 4 });
  const { identity } = guarded;
  const guess = (n: number): string => `mr_${String(n).padStart(32, "x")}`;
  identity.hangs = true;
  const first = many(4, (n) => call(guarded, guess(n)));
  // Those wait, and hold the rate.
  await expect.poll(() => identity.findTokenCalls, { timeout: 3_000 }).toBe(4);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  expect(await Promise.all(many(20, (n) => call(guarded, guess(100 + n))))).toEqual(many(20, () => away));
  expect(identity.findTokenCalls).toBe(4);
  expect(await Promise.all(first)).toEqual(many(4, () => away));

  identity.hangs = false;
  const statuses: number[] = [];
  for (let n = 0; n < 8; n += 1) statuses.push((await call(guarded, guess(n))).status);
  expect(statuses).toEqual([401, 401, 401, 401, 429, 429, 429, 429]);
});

test("who is known goes on while identity is away, as long as revocations are heard", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  await using guarded = await startGuarded({ strangerRate: 0.1, strangerBurst: 1 });
  const { identity } = guarded;
  const token = identity.apiToken("t", ["jobs:read"]);
  // Each time it is looked up again, and is no stranger.
  for (let n = 1; n <= 4; n += 1) {
    expect(await call(guarded, token)).toMatchObject({ status: 200 });
    expect(identity.findTokenCalls).toBe(n);
    vi.setSystemTime(Date.now() + 31_000);
  }
  identity.away = true;
  for (let n = 0; n < 5; n += 1) {
    expect(await call(guarded, token)).toMatchObject({ status: 200 });
    vi.setSystemTime(Date.now() + 31_000);
  }
  // But not for ever by what was looked up long ago.
  vi.setSystemTime(Date.now() + 5 * 60_000);
  expect(await call(guarded, token)).toEqual(away);
  identity.away = false;
  expect(await call(guarded, token)).toMatchObject({ status: 200 });
  vi.setSystemTime(Date.now() + 31_000);
  identity.away = true;
  identity.revoke({ tokenIds: ["t"] });
  await expect.poll(async () => (await call(guarded, token)).status).not.toBe(200);
});
