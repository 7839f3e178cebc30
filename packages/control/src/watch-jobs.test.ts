import { bookmarksHeader } from "@millrace/protocol";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startControlFixture, type ControlFixture } from "./control-fixture.ts";

let fixture: ControlFixture;
beforeAll(async () => {
  fixture = await startControlFixture();
}, 60_000);
afterAll(() => fixture[Symbol.asyncDispose]());

test("who asks for it hears at once where the watch begins, and misses nothing that came after", async () => {
  const headers = { [bookmarksHeader]: "1" };
  const watched = fixture.jobs.watchJobs({ kinds: ["submitted"] }, { headers })[Symbol.asyncIterator]();
  const first = await watched.next();
  expect(first.value?.position).toMatch(/^\d+\.\d+$/);
  expect(first.value?.event).toBeUndefined();
  await watched.return?.();
  await fixture.jobs.submitJob({ id: "after", type: "t" });
  const resumed = fixture.jobs.watchJobs({ kinds: ["submitted"], resumeAfter: first.value?.position ?? "" });
  for await (const { event } of resumed) {
    expect(event?.jobId).toBe("after");
    break;
  }
});
