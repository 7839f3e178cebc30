import { expect, test } from "vitest";
import { projected, startControlFixture } from "./control-fixture.ts";

test("a watch, a cancel and a submit go on after the broker was killed and is back", async () => {
  await using fixture = await startControlFixture();
  await fixture.jobs.submitJob({ id: "before", type: "t" });
  await projected(fixture);
  const started = Promise.withResolvers<void>();
  const seen: string[] = [];
  const watching = (async () => {
    for await (const { update } of fixture.jobs.watchJob({ id: "before" })) {
      seen.push(update.case === "event" ? update.value.kind : "row");
      if (seen.length === 1) started.resolve();
    }
  })();
  await started.promise;
  await fixture.nats.kill9();
  await fixture.nats.restart();
  await fixture.bus.whenConnected();
  expect((await fixture.jobs.submitJob({ id: "after", type: "t" })).id).toBe("after");
  await fixture.jobs.cancelJob({ id: "before" });
  await watching;
  expect(seen).toEqual(["row", "cancelled"]);
}, 60_000);
