import { JobState } from "@millrace/protocol";
import { expect, test } from "vitest";
import type { Schedule } from "./sql/insert-schedules.ts";
import { eachDatabase } from "./testing/each-database.ts";
import { testPatch } from "./testing/job-patch.ts";

function schedule(id: string, dueAtMs: number, attempt = 1): Schedule {
  return {
    id,
    attempt,
    dueAtMs,
    subject: `jobs.normal.default.echo.${id}`,
    payload: new Uint8Array([0, 1, 2]),
    headers: { "Millrace-Attempt": [String(attempt)], "X-Many": ["a", "b"] },
  };
}

eachDatabase((openTestStore) => {
  test("due schedules are claimed once, earliest first, and due again when their lease ends", async () => {
    await using store = await openTestStore();
    expect(await store.nextScheduleDelayMs()).toBeUndefined();
    const now = Date.now();
    await store.insertSchedules([schedule("late", now + 60_000)]);
    expect(await store.nextScheduleDelayMs()).toBeGreaterThan(30_000);
    await store.insertSchedules([schedule("b", now - 1000), schedule("a", now - 2000), schedule("c", now - 500)]);
    expect(await store.nextScheduleDelayMs()).toBe(0);
    const first = await store.claimDueSchedules({ limit: 2, leaseMs: 60_000 });
    expect(first.map((s) => s.id)).toEqual(["a", "b"]);
    expect(first[0]?.headers).toEqual(schedule("a", 0).headers);
    expect(Buffer.from(first[0]?.payload ?? []).toString("hex")).toBe("000102");
    const second = await store.claimDueSchedules({ limit: 10, leaseMs: 0 });
    expect(second.map((s) => s.id)).toEqual(["c"]);
    expect((await store.claimDueSchedules({ limit: 10, leaseMs: 0 })).map((s) => s.id)).toEqual(["c"]);
    await store.deleteSchedules([...first, ...second]);
    expect(await store.nextScheduleDelayMs()).toBeGreaterThan(30_000);
  });

  test("a message delivered again brings nothing back", async () => {
    await using store = await openTestStore();
    await store.insertSchedules([schedule("a", 1000), schedule("a", 1000)]);
    await store.insertSchedules([schedule("a", 99_000)]);
    const [claimed] = await store.claimDueSchedules({ limit: 10, leaseMs: 60_000 });
    expect(claimed?.dueAtMs).toBe(1000);
    await store.deleteSchedules([{ id: "a", attempt: 1 }]);
    const to = { seq: 1, streamCreatedMs: 1 };
    await store.applyEvents([testPatch("a", JobState.RUNNING)], { name: "jobs", from: undefined, to });
    await store.insertSchedules([schedule("a", 1000)]);
    expect(await store.nextScheduleDelayMs()).toBeUndefined();
    await store.insertSchedules([schedule("a", 1000, 2)]);
    expect(await store.nextScheduleDelayMs()).toBe(0);
  });

  test("cancelling takes a schedule away once", async () => {
    await using store = await openTestStore();
    await store.insertSchedules([schedule("a", Date.now() + 60_000)]);
    expect(await store.cancelSchedule("a")).toBe(true);
    expect(await store.cancelSchedule("a")).toBe(false);
  });
});
