import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { defaultJobOptions, formatJobOptions, headerNames, parseJobOptions } from "./index.ts";

const parse = (headers: Record<string, string>) => parseJobOptions((name) => headers[name]);

describe("parseJobOptions", () => {
  it("takes a job without headers as it is", () => {
    expect(parse({})).toEqual({ ok: true, options: defaultJobOptions });
  });

  it("reads back what formatJobOptions wrote", () => {
    const options = {
      ...defaultJobOptions,
      run: 2,
      attempt: 3,
      move: 4,
      maxAttempts: 9,
      timeoutMs: 1500,
      backoff: { kind: "linear", baseMs: 5, maxMs: 50, jitter: 0.1 } as const,
      runAtMs: 1_800_000_000_000,
      deadlineMs: 1_800_000_100_000,
      uniqueKey: "order 7",
      tags: ["eu", "a=b"],
      correlationId: "c-1",
      replyTo: "_INBOX.abc",
      contentType: "application/json",
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    };
    expect(parse(Object.fromEntries(formatJobOptions(options)))).toEqual({ ok: true, options });
  });

  it("reports every header that does not parse", () => {
    const parsed = parse({
      [headerNames.maxAttempts]: "many",
      [headerNames.runAt]: "tomorrow",
      [headerNames.tags]: "a b",
      [headerNames.replyTo]: "jobs.high.x.y",
    });
    expect(parsed.ok).toBe(false);
    if (!parsed.ok) {
      expect(parsed.problems.map((problem) => problem.field)).toEqual([
        headerNames.maxAttempts,
        headerNames.runAt,
        headerNames.tags,
        headerNames.replyTo,
      ]);
    }
  });

  it("reads RFC 3339 instants", () => {
    const parsed = parse({ [headerNames.runAt]: "2030-01-01T00:00:00Z" });
    expect(parsed.ok && parsed.options.runAtMs).toBe(Date.UTC(2030, 0, 1));
  });

  it("refuses instants that no Timestamp can say", () => {
    for (const late of ["253402300800000", "999999999999999", "9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00Z"]) {
      expect(parse({ [headerNames.runAt]: late, [headerNames.deadline]: late })).toMatchObject({ ok: false });
    }
    expect(parse({ [headerNames.runAt]: "9999-12-31T23:59:59.999Z" }).ok).toBe(true);
  });

  it("never throws on garbage", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.values(headerNames)), fc.string()), (headers) => {
        expect(typeof parse(headers).ok).toBe("boolean");
      }),
    );
  });
});
