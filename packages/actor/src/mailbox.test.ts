import fc from "fast-check";
import { expect, test } from "vitest";
import { Mailbox } from "./mailbox.ts";

test("behaves like an array with a bound", () => {
  const operation = fc.oneof(fc.record({ push: fc.integer() }), fc.constant("shift" as const));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.array(operation, { maxLength: 300 }), (capacity, operations) => {
      const mailbox = new Mailbox<number>(capacity);
      const model: number[] = [];
      for (const op of operations) {
        if (op === "shift") {
          expect(mailbox.shift()).toBe(model.shift());
        } else {
          const fits = model.length < capacity;
          expect(mailbox.push(op.push)).toBe(fits);
          if (fits) model.push(op.push);
        }
        expect(mailbox.size).toBe(model.length);
      }
    }),
  );
});
