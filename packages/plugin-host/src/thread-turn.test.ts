import fc from "fast-check";
import { expect, test } from "vitest";
import { SingleTurn } from "./thread-turn.ts";

test("one executes at a time, in the order of asking, and who it is is known", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(3), { minLength: 1, maxLength: 20 }), async (waits) => {
      let known = 0;
      const turn = new SingleTurn((callId) => (known = callId));
      const order: number[] = [];
      let executing = 0;
      const run = async (callId: number, ticks: number) => {
        await turn.take(callId);
        expect(++executing).toBe(1);
        order.push(callId);
        for (let tick = 0; tick < ticks; tick++) {
          await Promise.resolve();
          expect(known).toBe(callId);
        }
        executing--;
        turn.leave();
      };
      await Promise.all(waits.map((ticks, index) => run(index + 1, ticks)));
      expect(order).toEqual(waits.map((_, index) => index + 1));
      expect(known).toBe(0);
      expect(turn.take(1)).toBeUndefined();
    }),
  );
});
