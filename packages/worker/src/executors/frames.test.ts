import { PassThrough } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameReader, writeFrame } from "./frames.ts";

const message = fc.record({
  kind: fc.string(),
  body: fc.uint8Array({ maxLength: 300 }),
  at: fc.double(),
  list: fc.array(fc.integer()),
});

test("messages arrive whole and in order, however the pipe cuts them", () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 6 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 200 })),
      (sent, cuts) => {
        const pieces: Uint8Array[] = [];
        const pipe = new PassThrough().on("data", (piece: Uint8Array) => pieces.push(piece));
        for (const one of sent) writeFrame(pipe, one);
        const bytes = Buffer.concat(pieces);
        const received: unknown[] = [];
        const reader = new FrameReader((one) => received.push(one));
        for (let at = 0; at < bytes.length;) {
          const end = at + (cuts.next().value ?? 1);
          reader.push(new Uint8Array(bytes.subarray(at, end)));
          at = end;
        }
        expect(received).toEqual(sent);
      },
    ),
  );
});

test("what is no frame is refused", () => {
  expect(() => new FrameReader(() => undefined).push(new Uint8Array([255, 255, 255, 255]))).toThrow(RangeError);
});
