import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeAnswer, encodeAnswer } from "./encode-answer.ts";

test("an answer comes back as it was, body and all", () => {
  const answer = fc.oneof(
    fc.record(
      {
        meta: fc.dictionary(fc.string(), fc.jsonValue()).filter((meta) => !("__proto__" in meta)),
        body: fc.uint8Array(),
      },
      { requiredKeys: ["meta"] },
    ),
    fc.record({
      failure: fc.record({ code: fc.constant("HOST_DENIED" as const), message: fc.string(), fatal: fc.boolean() }),
    }),
  );
  fc.assert(
    fc.property(answer, (value) => {
      // JSON has no minus zero.
      const plain = "meta" in value ? { ...value, meta: JSON.parse(JSON.stringify(value.meta)) as object } : value;
      expect(decodeAnswer(encodeAnswer(plain))).toEqual(plain);
    }),
  );
});
