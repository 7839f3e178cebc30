import type { BrokerClock, Bus, Delivery } from "@millrace/bus";
import { expect, it } from "vitest";
import { Job } from "./job.ts";
import { LeaseKeeper } from "./lease-keeper.ts";

const ackWaitMs = 3000;

/** Only what a lease needs of a job. */
function jobAt(seq: number, id: string): Job {
  const delivery = { seq, reply: id, headerText: "" } as Delivery;
  const name = { id, type: "t", owner: "" };
  return new Job(delivery, { level: 3, queue: "q" }, name, {} as BrokerClock, 0, ackWaitMs);
}

it("keeps two jobs of one place, as a broker that was killed counts on from before", () => {
  const renewed: string[] = [];
  const lost: Job[] = [];
  const bus = { inProgress: (reply: string) => renewed.push(reply) > 0 } as unknown as Bus;
  const leases = new LeaseKeeper(bus, ackWaitMs, (job) => lost.push(job));
  const [first, second, other] = [jobAt(7, "first"), jobAt(7, "second"), jobAt(8, "other")];
  for (const job of [first, second, other]) leases.add(job);
  const ids = () => [...leases.jobs()].map(({ id }) => id).toSorted();
  expect([leases.size, ids()]).toEqual([3, ["first", "other", "second"]]);

  leases.tick(ackWaitMs / 3);
  expect(renewed.toSorted()).toEqual(["first", "other", "second"]);
  // The place is the newer one's, on another lease.
  const again = jobAt(7, "second");
  expect([leases.adopt(again), second.delivery === again.delivery]).toEqual([true, true]);
  expect(leases.adopt(jobAt(7, "first"))).toBe(false);

  leases.remove(second);
  leases.remove(second);
  expect([leases.size, ids()]).toEqual([2, ["first", "other"]]);
  leases.tick(10 * ackWaitMs);
  expect(lost.map(({ id }) => id).toSorted()).toEqual(["first", "other"]);
  expect(leases.size).toBe(0);
});
