import { JobState } from "@millrace/protocol";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { JobPatch } from "./job-patch.ts";
import type { Store } from "./store.ts";
import { eachDatabase } from "./testing/each-database.ts";
import { testPatch, testSubmission } from "./testing/job-patch.ts";
import { eventsAt } from "./testing/log-cursors.ts";

const bytes = testSubmission().payload.length;

function feeder(store: Store) {
  let seq = 0;
  return async (...patches: JobPatch[]) => {
    await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) });
  };
}

const submitted = (id: string, owner?: string, more: Partial<JobPatch> = {}): JobPatch =>
  testPatch(id, JobState.QUEUED, {
    submission: { ...testSubmission(), ...(owner === undefined ? {} : { owner }) },
    ...more,
  });

const states = [JobState.SCHEDULED, JobState.QUEUED, JobState.RUNNING, JobState.RETRYING, JobState.SUCCEEDED];

eachDatabase((openTestStore) => {
  test("counts what an owner's unfinished jobs come to", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    const load = (owner: string) => store.readOwnerLoad(owner, "jobs");
    expect(await load("ada")).toEqual({ jobs: 0, bytes: 0, cursors: new Map() });
    await feed(submitted("a", "ada"), submitted("b", "ada"), submitted("c", "eve"), submitted("d"));
    expect(await load("ada")).toEqual({ jobs: 2, bytes: 2 * bytes, cursors: new Map([["EVENTS", 1]]) });
    expect(await load("nobody")).toMatchObject({ jobs: 0, bytes: 0 });
    await feed(testPatch("a", JobState.RUNNING), testPatch("d", JobState.SUCCEEDED));
    expect(await load("ada")).toMatchObject({ jobs: 2, bytes: 2 * bytes });
    await feed(testPatch("a", JobState.DEAD), testPatch("b", JobState.SUCCEEDED));
    expect(await load("ada")).toMatchObject({ jobs: 0, bytes: 0 });
    // Run again by an operator; and known to have ended before it is known whose it was.
    await feed(testPatch("a", JobState.QUEUED, { run: 2, submission: testSubmission() }));
    await feed(testPatch("e", JobState.RUNNING));
    await feed(submitted("e", "ada"));
    expect(await load("ada")).toMatchObject({ jobs: 2, bytes: 2 * bytes });
    expect(await load("eve")).toMatchObject({ jobs: 1, bytes });
    expect((await store.getJob("a"))?.job.owner).toBe("ada");
    const { jobs } = await store.listJobs({ owner: "ada" }, { size: 0, token: "" });
    expect(jobs.map(({ id, owner }) => [id, owner]).toSorted()).toEqual([
      ["a", "ada"],
      ["b", "ada"],
      ["e", "ada"],
    ]);
  });

  test("comes out the same whatever arrives when, and however often", async () => {
    await using store = await openTestStore();
    const feed = feeder(store);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(3), fc.constantFrom("copy", ...states), fc.integer({ min: 1, max: 2 })), {
          minLength: 1,
          maxLength: 12,
        }),
        async (steps) => {
          run++;
          const owner = `o${run}`;
          for (const [job, what, attempt] of steps) {
            const id = `${run}-${job}`;
            await feed(
              what === "copy" ? submitted(id, owner, { attempt }) : testPatch(id, what as JobState, { attempt }),
            );
          }
          const { jobs } = await store.listJobs({ owner }, { size: 0, token: "" });
          const open = jobs.filter(({ state }) => state !== JobState.SUCCEEDED).length;
          expect(await store.readOwnerLoad(owner, "jobs")).toMatchObject({ jobs: open, bytes: open * bytes });
        },
      ),
      { numRuns: 15 },
    );
  });
});
