import type { Delivery } from "@millrace/bus";
import { expect, it } from "vitest";
import type { Lane } from "./intake.ts";
import { readJobName } from "./read-job-name.ts";

const encoder = new TextEncoder();
const owner = "0196f3c2-7b1e-7a4e-9d2b-1c2d3e4f5a6b";

/** As far as a name asks. */
function deliveryOn(subject: string, id = "in-header"): Delivery {
  const header = (name: string): string | undefined => (name === "Millrace-Id" ? id : undefined);
  const place = { stream: "JOBS_HIGH", seq: 1, timestampMs: 0 };
  return { ...place, subject, subjectBytes: encoder.encode(subject), header } as unknown as Delivery;
}

it("reads each name from its own subject, whatever came before it", () => {
  const lane = { prefix: "jobs.high.q.", shared: undefined } as Lane;
  const names: [subject: string, name: object][] = [
    ["jobs.high.q.mail", { id: "in-header", type: "mail", owner: "" }],
    ["jobs.high.q.mail", { id: "in-header", type: "mail", owner: "" }],
    ["jobs.high.q.mailx", { id: "in-header", type: "mailx", owner: "" }],
    ["jobs.high.q.mail.chosen", { id: "chosen", type: "mail", owner: "" }],
    ["jobs.high.q.mail", { id: "in-header", type: "mail", owner: "" }],
    [`jobs.high.q.mail.-.${owner}`, { id: "in-header", type: "mail", owner }],
    [`jobs.high.q.mail.-.${owner}`, { id: "in-header", type: "mail", owner }],
    [`jobs.high.q.mail.chosen.${owner}`, { id: "chosen", type: "mail", owner }],
    ["jobs.high.q.main", { id: "in-header", type: "main", owner: "" }],
  ];
  for (const [subject, name] of [...names, ...names.toReversed()]) {
    expect(readJobName(deliveryOn(subject), lane)).toEqual({ ...name, problem: undefined });
  }
  for (let times = 0; times < 2; times++) {
    expect(readJobName(deliveryOn("jobs.high.q.ü"), lane).problem).toBe('"ü" is not a job type');
    expect(readJobName(deliveryOn("jobs.high.q.mail.a.b.c"), lane).problem).toContain("is not a job id");
  }
  expect(readJobName(deliveryOn("jobs.high.q.main", "another"), lane).id).toBe("another");
});
