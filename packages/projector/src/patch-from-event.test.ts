import { create } from "@bufbuild/protobuf";
import { EventKind, JobEventSchema } from "@millrace/protocol";
import { expect, it } from "vitest";
import { patchFromEvent } from "./patch-from-event.ts";

it("keeps which plugin ran a job, its fuel, and the limit that it reached", () => {
  const event = create(JobEventSchema, {
    jobId: "a",
    kind: EventKind.DEAD,
    attempt: 2,
    errorCode: "OUT_OF_FUEL",
    errorMessage: "used 1000 units of fuel; the limit is 1000",
    plugin: "spinner@1.0.0",
    fuel: 1000,
    breachResource: "fuel",
    breachFigure: 1000,
    breachLimit: 1000,
    breachUnit: "units",
  });
  expect(patchFromEvent(event, "worker", { seq: 1, index: 0 })).toMatchObject({
    plugin: "spinner@1.0.0",
    fuel: 1000,
    failures: [{ code: "OUT_OF_FUEL", breach: { resource: "fuel", figure: 1000, limit: 1000, unit: "units" } }],
  });
});
