/** What one user has queued is bounded, and nobody else's jobs count. */
import { connect } from "nats";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Rest, type ErrorJson } from "./lib/rest.ts";
import { startStandaloneProcess, type SystemUnderTest } from "./lib/standalone.ts";

interface Outcomes {
  outcomes: { id?: string; errorCode?: string; errorMessage?: string }[];
}

let system: SystemUnderTest;
beforeAll(async () => {
  system = await startStandaloneProcess({ MILLRACE_PLUGINS_DIR: "" });
}, 60_000);
afterAll(() => system?.[Symbol.asyncDispose](), 30_000);

// No worker serves this queue: what is in it stays.
const job = (id: string) => ({ id, queue: "unserved", type: "t" });

it("refuses jobs beyond the quota at the door, until some have ended", { timeout: 60_000 }, async () => {
  const { rest } = system;
  expect((await rest.call("PUT", "/api/v1/settings/quotaJobs", { value: 3 })).status).toBe(200);
  const many = await rest.call<Outcomes>("POST", "/api/v1/jobs:batch", {
    jobs: [1, 2, 3, 4].map((n) => job(`q-${n}`)),
  });
  expect(many.body.outcomes.map(({ errorCode = "" }) => errorCode)).toEqual(["", "", "", "resource_exhausted"]);
  const refused = await rest.call<ErrorJson>("POST", "/api/v1/jobs", job("q-5"));
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
  expect(refused.body.error).toMatchObject({
    code: "resource_exhausted",
    message: "you have 3 jobs queued; the limit is 3",
    details: [{ field: "queued_jobs", reason: "3 jobs of at most 3" }],
  });
  // Somebody else, and a service that publishes by itself.
  const who = { email: "pub@example.com", password: "correct horse battery" };
  const made = { ...who, roles: ["ROLE_PUBLISHER"] };
  const { user } = (await rest.call<{ user: { id: string } }>("POST", "/api/v1/users", made)).body;
  const login = await rest.call<{ tokens: { accessToken: string } }>("POST", "/api/v1/auth/login", who);
  const publisher = new Rest(system.httpUrl, login.body.tokens.accessToken);
  expect((await publisher.call("POST", "/api/v1/jobs", job("p-1"))).status).toBe(200);
  const nats = await connect({ servers: system.natsUrl });
  await nats.jetstream().publish("jobs.high.unserved.t.n-1", "{}");
  await nats.close();
  await rest.jobIn("n-1", "JOB_STATE_QUEUED");
  await rest.jobIn("p-1", "JOB_STATE_QUEUED");
  const listed = async (owner: string): Promise<string[]> => {
    const { jobs } = (await rest.call<{ jobs: { id: string }[] }>("GET", `/api/v1/jobs?owner=${owner}`)).body;
    return jobs.map(({ id }) => id);
  };
  expect(await listed(user.id)).toEqual(["p-1"]);

  expect((await rest.call("POST", "/api/v1/jobs/q-1:cancel", {})).status).toBe(200);
  await rest.jobIn("q-1", "JOB_STATE_CANCELLED");
  await expect
    .poll(async () => (await rest.call("POST", "/api/v1/jobs", job("q-6"))).status, { timeout: 10_000 })
    .toBe(200);
});

it("keeps names of its own events to itself", async () => {
  const answer = await system.rest.call<ErrorJson>("POST", "/api/v1/events", { name: "audit.job_service.cancel_job" });
  expect([answer.status, answer.body.error.details[0]]).toEqual([
    422,
    { field: "name", reason: "events that begin with audit, job, plugin, user are Millrace's own" },
  ]);
});
