import type { CallOptions } from "@connectrpc/connect";
import { callerHeader, encodeCaller } from "@millrace/protocol";
import { openStore } from "@millrace/store";
import { afterAll, beforeAll, expect, test } from "vitest";
import { projected, startControlFixture, type ControlFixture } from "./control-fixture.ts";
import { RecentJobs } from "./recent-jobs.ts";
import { TakenIds } from "./taken-ids.ts";

/** On a machine that has much to do the database may answer too late. */
const patient = { timeout: 30_000 };
let fixture: ControlFixture;
beforeAll(async () => {
  // Nothing is remembered: what is known is in the rows.
  fixture = await startControlFixture({ recentJobs: 0 });
}, 60_000);
afterAll(() => fixture?.[Symbol.asyncDispose](), 30_000);

/** As a gateway calls for this user. */
function as(subject: string): CallOptions {
  const none = { email: "", permissions: [], queues: [], types: [], tokenId: "", sessionId: "", address: "" };
  return { headers: { [callerHeader]: encodeCaller({ ...none, subject, requestId: "r", door: "rest" }) } };
}

test("an id is one job's: not another owner's, queue's or type's", async () => {
  const { jobs } = fixture;
  const job = { id: "order-1", queue: "shop", type: "pay" };
  await jobs.submitJob(job, as("ada"));
  await projected(fixture);
  const codeOf = async (request: typeof job, subject: string): Promise<string> => {
    const { outcomes } = await jobs.submitJobs({ jobs: [request] }, as(subject));
    return outcomes[0]?.errorCode ?? "";
  };
  const refused = (request: typeof job, subject: string) =>
    expect.poll(() => codeOf(request, subject), patient).toBe("already_exists");
  await refused(job, "eve");
  await refused(job, "anonymous");
  await refused({ ...job, queue: "other" }, "ada");
  await refused({ ...job, type: "refund" }, "ada");
  // Whoever submits a job again must not be told that somebody else has it.
  expect(await codeOf(job, "ada")).toBe("");
  expect(await codeOf({ ...job, id: "order-2" }, "eve")).toBe("");
});

test("many ids are looked up together", async () => {
  const ids = Array.from({ length: 1000 }, (_, index) => `bulk-${index}`);
  const job = { queue: "bulk", type: "t" };
  await fixture.jobs.submitJobs({ jobs: ids.map((id) => ({ ...job, id })) }, as("ada"));
  await projected(fixture);
  const refused = async (): Promise<number> => {
    const { outcomes } = await fixture.jobs.submitJobs({ jobs: ids.map((id) => ({ ...job, id })) }, as("eve"));
    return outcomes.filter(({ errorCode }) => errorCode === "already_exists").length;
  };
  await expect.poll(refused, patient).toBe(ids.length);
});

test("while the database is away jobs are accepted", async () => {
  await using store = await openStore({ databaseUrl: "postgres://127.0.0.1:1/away" });
  const taken = new TakenIds(store, new RecentJobs(0, 0), fixture.bus.logger);
  await expect(taken.refuse("order-1", { queue: "other", type: "t", owner: "eve" })).resolves.toBeUndefined();
});
