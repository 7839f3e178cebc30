import { setTimeout as pause } from "node:timers/promises";
import { connectBus } from "@millrace/bus";
import { jobStream, priorityNames, queueConsumer } from "@millrace/protocol";
import { findPostgresBinaries, startTestPostgres } from "@millrace/store/testing";
import { expect, it } from "vitest";
import { expectAllAccountedFor } from "../lib/accounting.ts";
import { startFaultSystem } from "../lib/fault-system.ts";
import { publishLoad } from "../lib/publish-load.ts";
import { Rest, type ErrorJson } from "../lib/rest.ts";
import { startFaultWorker } from "../lib/start-fault-worker.ts";
import { until } from "../lib/until.ts";

const awayMs = process.env["MILLRACE_FAULTS"] === "quick" ? 10_000 : 60_000;
const jobs = 3000;
const queue = "away";
const binaries = findPostgresBinaries();

it.skipIf(binaries === undefined)("runs jobs while PostgreSQL is away, and loses none of their rows", async () => {
  await using postgres = await startTestPostgres(binaries ?? "");
  await using system = await startFaultSystem(postgres.url);
  const { rest, natsUrl } = system;
  await using _ = await startFaultWorker({ natsUrl, queue });
  await using bus = await connectBus({ servers: natsUrl, name: "observer" });
  const callers = await prepareCallers(rest);
  const before = publishLoad({ natsUrl, queue, jobs });
  await before.whenAccepted(jobs / 2);

  await postgres.stop();
  // The absence itself is what is tested: it lasts as long as it says.
  const back = pause(awayMs);
  await before.ended;
  const accepted = new Set(before.accepted);
  // Workers go on: nothing waits, and a caller that waits gets the result from the worker itself.
  await until(
    async () => {
      const consumer = queueConsumer(queue);
      const states = await Promise.all(
        priorityNames.map((priority) => bus.consumerState(jobStream(priority), consumer)),
      );
      return states.every(({ pending, ackPending }) => pending + ackPending === 0) ? true : undefined;
    },
    "the jobs to run without the database",
    awayMs,
  );
  const waited = await rest.submit({ id: "away-waited", queue, type: "work", waitMs: 10_000 });
  expect(waited.result).toMatchObject({ state: "JOB_STATE_SUCCEEDED" });
  accepted.add(waited.id);
  // Whoever may come in is let in, those too who have not come before.
  for (const [id, caller] of Object.entries(callers.known)) {
    accepted.add((await caller.submit({ id: `away-${id}`, queue, type: "work" })).id);
  }
  for (const [who, status] of [
    [callers.revoked, 503],
    [new Rest(system.httpUrl, "mr_".padEnd(46, "x")), 503],
    [new Rest(system.httpUrl, "a.b.c"), 401],
    [new Rest(system.httpUrl, ""), 401],
  ] as const) {
    expect(await who.call("POST", "/api/v1/jobs", { queue, type: "work" })).toMatchObject({ status });
  }
  // What needs the rows says that they cannot be read, and that it is worth to ask again.
  for (const path of ["/api/v1/jobs/away-waited", `/api/v1/jobs?queue=${queue}`]) {
    const answer = await rest.call<ErrorJson>("GET", path);
    expect(answer).toMatchObject({ status: 503, body: { error: { code: "unavailable" } } });
    expect(answer.headers.get("retry-after")).not.toBeNull();
  }
  const ready = await fetch(`${system.httpUrl}/health/ready`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toContain("database");
  await back;
  await postgres.start();

  accepted.add((await rest.submit({ id: "away-after", queue, type: "work" })).id);
  const rows = await expectAllAccountedFor(rest, queue, accepted, 60_000);
  expect(rows.length).toBe(jobs + 2 + Object.keys(callers.known).length);
  expect(rows.filter((job) => job.state !== "JOB_STATE_SUCCEEDED")).toEqual([]);
  // The services look again at intervals of their own.
  await until(async () => {
    const { status, body } = await rest.call("GET", "/health/ready");
    if (status !== 200) throw new Error(JSON.stringify(body));
    return true;
  }, "the system to be ready again");
});

/** Callers of every kind, none of whom has called yet. */
async function prepareCallers(admin: Rest): Promise<{ readonly known: Record<string, Rest>; readonly revoked: Rest }> {
  const answer = async <T>(path: string, body: object, as = admin): Promise<T> => {
    const { status, body: answered } = await as.call<T>("POST", path, body);
    expect([path, status]).toEqual([path, 200]);
    return answered;
  };
  const login = { email: "ada@example.com", password: "correct horse battery" };
  await answer("/api/v1/users", { ...login, roles: ["ROLE_PUBLISHER"] });
  const { tokens } = await answer<{ tokens: { accessToken: string } }>("/api/v1/auth/login", login);
  type Created = { secret: string; token: { id: string } };
  const create = (name: string) => answer<Created>("/api/v1/tokens", { name, scopes: ["jobs:submit"] });
  const [unused, revoked] = [await create("unused"), await create("revoked")];
  const ended = await admin.call("DELETE", `/api/v1/tokens/${revoked.token.id}`);
  expect(ended.status).toBe(200);
  return {
    known: { token: new Rest(admin.base, unused.secret), session: new Rest(admin.base, tokens.accessToken) },
    revoked: new Rest(admin.base, revoked.secret),
  };
}
