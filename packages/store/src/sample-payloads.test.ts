import { JobState } from "@millrace/protocol";
import { expect, test } from "vitest";
import { eachDatabase } from "./testing/each-database.ts";
import { testPatch, testSubmission } from "./testing/job-patch.ts";
import { eventsAt } from "./testing/log-cursors.ts";

const day = Date.parse("2030-01-01T00:00:00Z");

eachDatabase((openTestStore) => {
  test("tells the payloads of a queue's newest jobs, and of those that wait", async () => {
    await using store = await openTestStore();
    let seq = 0;
    const feed = async (count: number, bytes: number, state: JobState): Promise<void> => {
      const patches = Array.from({ length: count }, (_, n) => {
        const submission = { ...testSubmission(), payload: new Uint8Array(bytes) };
        return testPatch(`${seq}-${n}`, state, { queue: "heavy", submission, submittedAtMs: day + seq * 10_000 + n });
      });
      await store.applyEvents(patches, { name: "jobs", from: eventsAt(seq), to: eventsAt(++seq) });
    };
    expect(await store.samplePayloads("heavy")).toEqual({ jobs: 0, bytes: 0, waitingJobs: 0, waitingBytes: 0 });
    await feed(300, 1000, JobState.QUEUED);
    await feed(100, 50, JobState.SUCCEEDED);
    await feed(10, 20, JobState.RETRYING);
    const some = { jobs: 410, bytes: 305_200, waitingJobs: 310, waitingBytes: 300_200 };
    expect(await store.samplePayloads("heavy")).toEqual(some);
    expect(await store.samplePayloads("other")).toMatchObject({ jobs: 0 });
    // The oldest are not looked at any more.
    await feed(900, 10, JobState.QUEUED);
    expect(await store.samplePayloads("heavy")).toEqual({
      jobs: 1000,
      bytes: 900 * 10 + 10 * 20 + 90 * 50,
      waitingJobs: 910,
      waitingBytes: 900 * 10 + 10 * 20,
    });
  });
});
