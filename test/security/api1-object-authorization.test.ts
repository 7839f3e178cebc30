/** API1:2023, broken object level authorization: nobody reaches what belongs to somebody else. */
import type { DescMethod, JsonObject } from "@bufbuild/protobuf";
import { AuthService, JobService, PluginService, TokenService } from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doorNames } from "../lib/doors.ts";
import { Attacker, bearer, secured, type Person } from "./attacker.ts";

const attacker = new Attacker("api1", 1);
afterAll(() => attacker[Symbol.dispose]());

let victim: Person;
let thief: Person;
beforeAll(async () => {
  victim = await attacker.person("ROLE_PUBLISHER");
  thief = await attacker.person("ROLE_PUBLISHER");
});

describe.each(doorNames)("%s: what belongs to another user", (name) => {
  const door = attacker.door(name);
  const { listSessions, revokeSession } = AuthService.method;
  const { listTokens, revokeToken } = TokenService.method;

  it("is not listed, and not ended by its id", async () => {
    const mine = await attacker.token(victim, ["jobs:read"]);
    const listed = await door(listTokens, {}, thief.headers);
    expect(listed.code).toBe("ok");
    expect(listed.raw).not.toContain(mine.id);
    expect((await door(revokeToken, { id: mine.id }, thief.headers)).code).toBe("not_found");
    expect((await door(listTokens, {}, victim.headers)).raw).toContain(mine.id);
    // It still works.
    expect((await door(JobService.method.listJobs, {}, mine.headers)).code).toBe("ok");

    const sessions = await door(listSessions, {}, victim.headers);
    const [session] = sessions.answer["sessions"] as { id: string }[];
    const id = session?.id ?? "";
    expect((await door(listSessions, {}, thief.headers)).raw).not.toContain(id);
    expect((await door(revokeSession, { id }, thief.headers)).code).toBe("not_found");
    expect((await door(AuthService.method.getMe, {}, victim.headers)).code).toBe("ok");
  });

  it("is not reached by saying that one is its owner", async () => {
    const claims = {
      "millrace-caller": JSON.stringify({ subject: victim.id, permissions: ["users:manage"] }),
      "x-user-id": victim.id,
      "x-forwarded-user": victim.email,
    };
    const me = await door(AuthService.method.getMe, {}, { ...thief.headers, ...claims });
    expect(me.answer["user"]).toMatchObject({ id: thief.id });
  });
});

describe.each(doorNames)("%s: an API token for one queue and type", (name) => {
  const door = attacker.door(name);
  const queue = `theirs-${name.toLowerCase()}`;
  const id = `secret-${name}`;
  const jobs = JobService.method;
  const denied = expect.stringMatching(/^(permission_denied|not_found)$/) as string;
  let limited: { authorization: string };
  beforeAll(async () => {
    const scopes = ["jobs:read", "jobs:submit", "jobs:cancel", "jobs:retry", "queues:read", "events:publish"];
    limited = (await attacker.token(thief, scopes, { queues: ["mine"], types: ["work"] })).headers;
    const payload = { json: { secret: "for the other queue" } };
    await attacker.expectOk("POST", "/api/v1/jobs", { id, queue, type: "work", payload }, victim.access);
  });

  const attempts: [DescMethod, JsonObject][] = [
    [jobs.getJob, { id }],
    [jobs.watchJob, { id }],
    [jobs.cancelJob, { id }],
    [jobs.retryJob, { id }],
    [jobs.listJobs, {}],
    [jobs.listJobs, { queue }],
    [jobs.listJobs, { queue: "mine" }],
    [jobs.watchJobs, {}],
    [jobs.watchJobs, { queue, type: "work" }],
    [jobs.getQueueStats, { queue }],
    [jobs.listQueues, {}],
    [jobs.submitJob, { queue, type: "work" }],
    [jobs.submitJob, { type: "work" }],
    [jobs.submitJob, { queue: "mine", type: "other" }],
    [
      jobs.submitJobs,
      {
        jobs: [
          { queue: "mine", type: "work" },
          { queue, type: "work" },
        ],
      },
    ],
    [jobs.streamJobs, { queue, type: "work" }],
    [PluginService.method.getRecording, { jobId: id }],
  ];
  it.for(attempts)("gets nothing by $0.name $1", async ([method, request]) => {
    const said = await door(method, request, limited);
    expect(said.code).toEqual(denied);
    expect(said.raw).not.toContain("for the other queue");
  });

  it("is told of a job of others in the words for one that does not exist", async () => {
    const there = await door(jobs.getJob, { id }, limited);
    const nowhere = await door(jobs.getJob, { id: "nowhere" }, limited);
    expect([there.code, there.message.replace(id, "…")]).toEqual([
      nowhere.code,
      nowhere.message.replace("nowhere", "…"),
    ]);
  });

  it("submits nothing under the id of a job of others", async () => {
    const mine = { queue: "mine", type: "work" };
    const submissions: [DescMethod, JsonObject][] = [
      [jobs.submitJob, { ...mine, id }],
      [jobs.submitJobs, { jobs: [mine, { ...mine, id }] }],
      [jobs.streamJobs, { ...mine, id }],
    ];
    for (const [method, request] of submissions)
      expect(await door(method, request, limited), method.name).toMatchObject({ code: "already_exists" });
    expect((await door(jobs.submitJob, { ...mine, id: `mine-${name}` }, limited)).code).toBe("ok");
  });

  it("leaves the job as it was", async () => {
    const job = await door(jobs.getJob, { id }, victim.headers);
    expect(job.answer["job"]).toMatchObject({ id, queue, state: "JOB_STATE_QUEUED" });
  });

  it("hears nothing of another queue's job by submitting one with its id", async () => {
    const said = await door(jobs.submitJob, { id, queue: "mine", type: "work", waitMs: 300 }, limited);
    expect(said.answer["result"]).toBeUndefined();
  });
});

describe("a job that has ended", () => {
  it("does not give its result to who submits the same id elsewhere", async () => {
    const job = { id: "api1-ended", queue: "default", type: "no-such-type", payload: { text: "x" } };
    await attacker.expectOk("POST", "/api/v1/jobs", job, victim.access);
    await attacker.expectOk("POST", `/api/v1/jobs/${job.id}:cancel`, { reason: "a secret reason" }, victim.access);
    const limited = await attacker.token(thief, ["jobs:submit"], { queues: ["mine"] });
    for (const [name, door] of attacker.doors(bearer(limited.secret))) {
      const said = await door(JobService.method.submitJob, { id: job.id, queue: "mine", type: "t", waitMs: 200 });
      expect([name, said.code, said.answer["result"]]).toEqual([name, "already_exists", undefined]);
    }
  });
});

it("the system under attack is the one with identity on", async () => {
  expect((await fetch(`${secured.httpUrl}/api/v1/jobs`)).status).toBe(401);
});
