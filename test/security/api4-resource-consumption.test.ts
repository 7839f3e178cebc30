/** API4:2023, unrestricted resource consumption: what one caller can ask for is bounded, and callers hear by how much. */
import type { DescMethod, JsonObject } from "@bufbuild/protobuf";
import {
  AuditService,
  AuthService,
  EventService,
  JobService,
  SystemService,
  TokenService,
  UserService,
} from "@millrace/protocol";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { doorNames, type Said } from "../lib/doors.ts";
import { Attacker, bearer, secured, type Person } from "./attacker.ts";
import { rates } from "./shared-system.ts";

const attacker = new Attacker("api4", 4);
afterAll(() => attacker[Symbol.dispose]());

const administrator = bearer(secured.token);
let person: Person;
beforeAll(async () => {
  person = await attacker.person("ROLE_PUBLISHER");
});

/** More calls than a bucket of this size has tokens, what it gains meanwhile included; a hundred at a time. */
async function flood(burst: number, call: () => Promise<Said>): Promise<Said[]> {
  const answers: Said[] = [];
  while (answers.length < burst * 2 && answers.at(-1)?.code !== "resource_exhausted") {
    answers.push(...(await Promise.all(Array.from({ length: 100 }, call))));
  }
  return answers;
}

function expectTold({ code, headers }: Said): void {
  expect(code).toBe("resource_exhausted");
  expect(Number(headers["retry-after"])).toBeGreaterThanOrEqual(1);
  expect(headers["ratelimit-remaining"]).toBe("0");
  expect(headers["ratelimit-policy"]).toMatch(/^"default";q=\d+;w=\d+$/);
  expect(Number(headers["ratelimit-reset"])).toBeGreaterThanOrEqual(1);
}

describe("a flood", () => {
  it.for(doorNames)("of strangers by %s is refused, and nobody else", async (name) => {
    const door = attacker.door(name);
    const { refresh } = AuthService.method;
    const answers = await flood(rates.strangerBurst, () => door(refresh, { refreshToken: "guess" }));
    const refused = answers.findLast(({ code }) => code === "resource_exhausted");
    expectTold(refused as Said);
    expect(answers.filter(({ code }) => code === "unauthenticated").length).toBeGreaterThanOrEqual(rates.strangerBurst);
    // From elsewhere, so that the gateway knows the token: what came of its person's making may have had it forget.
    expect((await attacker.door(name)(SystemService.method.getInfo, {}, person.headers)).code).toBe("ok");
    // From the same address, at another door, it is the same stranger; who is known is none.
    expect((await door(SystemService.method.getInfo, {}, person.headers)).code).toBe("ok");
    expect((await attacker.door(name)(refresh, { refreshToken: "guess" })).code).toBe("unauthenticated");
  });

  it("of one user is refused at every door, and no other user", async () => {
    const greedy = await attacker.person("ROLE_VIEWER");
    const rest = attacker.door("REST", greedy.headers);
    const answers = await flood(rates.identityBurst, () => rest(SystemService.method.getInfo));
    expectTold(answers.findLast(({ code }) => code === "resource_exhausted") as Said);
    // The flood goes on meanwhile: what is allowed grows again with time, and a door that was not used yet takes some to open.
    const goingOn = Promise.all(Array.from({ length: rates.identityBurst }, () => rest(SystemService.method.getInfo)));
    const others = await Promise.all(
      attacker.doors(greedy.headers).map(([, door]) => door(JobService.method.listJobs)),
    );
    await goingOn;
    expect(others.map(({ code }) => code)).toContain("resource_exhausted");
    for (const [, door] of attacker.doors(person.headers)) {
      expect((await door(SystemService.method.getInfo)).code).toBe("ok");
    }
  });

  it("of jobs is refused by their number, whatever the door", async () => {
    const greedy = await attacker.person("ROLE_PUBLISHER");
    const jobs = Array.from({ length: 1_000 }, () => ({ type: "t", queue: "api4" }));
    const codes: string[] = [];
    for (const name of doorNames) {
      const said = await attacker.door(name, greedy.headers)(JobService.method.submitJobs, { jobs });
      codes.push(said.code);
      if (said.code === "resource_exhausted") expectTold(said);
    }
    expect(codes).toEqual(["ok", "ok", "resource_exhausted", "resource_exhausted"]);
  });
});

describe.each(doorNames)("%s", (name) => {
  const door = attacker.door(name);
  const job = { type: "t", queue: "api4" };
  const jobs = JobService.method;
  const deep = (levels: number): JsonObject => (levels === 0 ? {} : { a: deep(levels - 1) });

  const tooMuch: [what: string, DescMethod, JsonObject][] = [
    ["a page of jobs", jobs.listJobs, { pageSize: 501 }],
    ["a page of users", UserService.method.listUsers, { pageSize: 501 }],
    ["a page of the trail", AuditService.method.listAuditEntries, { pageSize: 501 }],
    ["a batch", jobs.submitJobs, { jobs: Array.from({ length: 1_001 }, () => job) }],
    ["a wait", jobs.submitJob, { ...job, waitMs: 60_001 }],
    ["a timeout", jobs.submitJob, { ...job, timeoutMs: 86_400_001 }],
    ["attempts", jobs.submitJob, { ...job, maxAttempts: 101 }],
    ["tags", jobs.submitJob, { ...job, tags: Array.from({ length: 21 }, (_, n) => `t${n}`) }],
    ["an id", jobs.submitJob, { ...job, id: "x".repeat(65) }],
    ["a key", jobs.submitJob, { ...job, uniqueKey: "x".repeat(257) }],
    ["an event's name", EventService.method.publishEvent, { name: "x".repeat(257) }],
    ["scopes", TokenService.method.createToken, { name: "x", scopes: Array.from({ length: 33 }, () => "read") }],
    ["a password", AuthService.method.login, { email: "a@example.com", password: "x".repeat(1_025) }],
  ];
  it.for(tooMuch)("refuses too much: %s", async ([, method, request]) => {
    expect((await door(method, request, administrator)).code).toBe("invalid_argument");
  });

  it("refuses a body that is too large, and a payload that no broker takes", async () => {
    const body = { ...job, payload: { text: "x".repeat(9 << 20) } };
    const large = await door(jobs.submitJob, body, person.headers);
    // By REST 413: a 429 would promise that a retry helps.
    expect(large.code).toBe(name === "REST" ? "out_of_range" : "resource_exhausted");
    const middle = await door(jobs.submitJob, { ...job, payload: { text: "x".repeat(2 << 20) } }, person.headers);
    expect(middle.code).toBe("out_of_range");
  });

  it("survives what is nested deeply", async () => {
    const request = { name: "api4.deep", data: deep(90) };
    const said = await door(EventService.method.publishEvent, request, person.headers).catch(() => ({
      code: "refused",
    }));
    expect(["ok", "invalid_argument", "refused"]).toContain(said.code);
    if (name === "REST" || name === "Connect") {
      const deeper = await door(
        EventService.method.publishEvent,
        { name: "api4.deep", data: deep(3_000) },
        person.headers,
      );
      expect(["ok", "invalid_argument"]).toContain(deeper.code);
    }
  });
});

it("a large body of a stranger is not even read to its end", async () => {
  const answer = await attacker.fetch("/api/v1/jobs", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ type: "t", payload: { text: "x".repeat(9 << 20) } }),
  });
  expect([401, 413]).toContain(answer.status);
});
