import { describe, expect, it } from "vitest";
import {
  deriveJobId,
  headerNames,
  isJobId,
  jobIdOf,
  jobSubject,
  newJobId,
  parseJobSubject,
  sharedJobSubject,
  sharedScheduleSubject,
  splitOwner,
  withOwner,
} from "./index.ts";

describe("parseJobSubject", () => {
  it("reads a job's subject with and without an id, on each of its roads", () => {
    for (const root of ["jobs", "schedule"]) {
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
    expect(splitOwner("j1.ada")).toEqual({ id: "j1", owner: "ada" });
    expect(splitOwner("j1")).toEqual({ id: "j1", owner: "" });
  });

  it("reads the subject that jobs share whose ids are in a header", () => {
    expect(sharedJobSubject("high", "mail", "send", "")).toBe("jobs.high.mail.send");
    const owned = parseJobSubject(sharedJobSubject("high", "mail", "send", "ada"));
    expect(owned).toMatchObject({ type: "send", id: undefined, owner: "ada" });
    expect(parseJobSubject(sharedScheduleSubject("high", "mail", "send", ""))?.id).toBeUndefined();
  });

  it("refuses other shapes", () => {
    for (const rest of ["c.d!", "c.d.e", "c."]) {
      expect(splitOwner(rest)).toEqual({ id: rest, owner: "" });
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

  const place = { stream: "JOBS_HIGH", seq: 42, timestampMs: 1_700_000_000_000 };

  it("derive alike from the same place in a stream", () => {
    expect(deriveJobId(place)).toBe(deriveJobId({ ...place }));
    expect(deriveJobId(place)).not.toBe(deriveJobId({ ...place, stream: "JOBS_LOW" }));
    expect(deriveJobId(place)).not.toBe(deriveJobId({ ...place, timestampMs: 1 }));
    expect(isJobId(deriveJobId(place))).toBe(true);
  });

  it("are taken from the subject, then from Millrace-Id, then from the message id of a bare publish", () => {
    const find = (subjectId: string | undefined, headers: Record<string, string>) =>
      jobIdOf(subjectId, (name) => headers[name], place);
    const both = { [headerNames.id]: "made", [headerNames.messageId]: "sent" };
    expect(find("named", both)).toBe("named");
    expect(find(undefined, both)).toBe("made");
    expect(find(undefined, { [headerNames.messageId]: "sent" })).toBe("sent");
    // A retry's message id, one that Millrace could have made by a rule, and what is no id at all.
    for (const messageId of ["sent:1:2:0", "_n1-2", "-", ""]) {
      expect(find(undefined, { [headerNames.messageId]: messageId }), messageId).toBe(deriveJobId(place));
    }
    expect(find(undefined, {})).toBe(deriveJobId(place));
  });
});
