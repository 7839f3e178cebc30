import { describe, expect, it } from "vitest";
import { deriveJobId, idBeforeOwner, isJobId, jobSubject, newJobId, parseJobSubject, withOwner } from "./index.ts";

describe("parseJobSubject", () => {
  it("reads a job's subject with and without an id, on each of its roads", () => {
    for (const root of ["jobs", "schedule", "events.submitted", "events.scheduled"]) {
      expect(parseJobSubject(`${root}.high.mail.send.j1`)).toEqual({
        priority: "high",
        level: 2,
        queue: "mail",
        type: "send",
        id: "j1",
      });
      expect(parseJobSubject(`${root}.low.mail.send`)?.id).toBeUndefined();
    }
    expect(jobSubject("high", "mail", "send", "j1")).toBe("jobs.high.mail.send.j1");
  });

  it("reads whose job it is", () => {
    const subject = withOwner(jobSubject("high", "mail", "send", "j1"), "ada");
    expect(parseJobSubject(subject)).toMatchObject({ id: "j1", owner: "ada" });
    expect(parseJobSubject(jobSubject("high", "mail", "send", "j1"))?.owner).toBeUndefined();
    expect(idBeforeOwner("j1.ada")).toBe("j1");
    expect(idBeforeOwner("j1")).toBe("j1");
  });

  it("refuses other shapes", () => {
    for (const rest of ["c.d!", "c.d.e", "c."]) {
      expect(idBeforeOwner(rest)).toBe(rest);
      expect(parseJobSubject(`jobs.high.a.b.${rest}`), rest).toBeUndefined();
    }
    for (const subject of ["jobs.high.mail", "jobs.urgent.mail.send", "jobs", ""]) {
      expect(parseJobSubject(subject), subject).toBeUndefined();
    }
  });
});

describe("job ids", () => {
  it("are valid, distinct and sort by time", () => {
    const ids = Array.from({ length: 10_000 }, () => newJobId());
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.every(isJobId)).toBe(true);
    expect(newJobId(1_000) < newJobId(2_000)).toBe(true);
  });

  it("derive alike from the same place in a stream", () => {
    expect(deriveJobId("JOBS_HIGH", 1_700_000_000_000, 42)).toBe(deriveJobId("JOBS_HIGH", 1_700_000_000_000, 42));
    expect(deriveJobId("JOBS_HIGH", 1_700_000_000_000, 42)).not.toBe(deriveJobId("JOBS_LOW", 1_700_000_000_000, 42));
    expect(isJobId(deriveJobId("JOBS_HIGH", 1_700_000_000_000, 42))).toBe(true);
  });
});
