import fc from "fast-check";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import {
  decodeFrame,
  encodeFrame,
  frameKinds,
  frameMagic,
  fromWireError,
  toWireError,
  type FrameKind,
} from "./nats-frame.ts";
import { piecesOf } from "./nats-pieces.ts";
import { errorDetails, fieldError } from "./rpc-error.ts";

const kinds = Object.values(frameKinds) as FrameKind[];

test("a frame is read as it was written", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...kinds),
      fc.option(fc.record({ count: fc.nat(), subject: fc.string() }), { nil: undefined }),
      fc.uint8Array({ maxLength: 300 }),
      fc.nat({ max: 2 ** 32 - 1 }),
      (kind, meta, payload, number) => {
        expect(decodeFrame(encodeFrame(kind, meta, payload, number))).toEqual({
          kind,
          number,
          meta: meta ?? {},
          payload,
        });
      },
    ),
  );
});

test("any bytes are a frame or a typed error", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (tail) => {
      const data = new Uint8Array([frameMagic, ...tail]);
      try {
        decodeFrame(data);
      } catch (reason) {
        expect(reason).toBeInstanceOf(ConnectError);
      }
    }),
  );
});

test("pieces put together are the message, and none is too large", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.integer({ min: 1, max: 50 }), (bytes, pieceBytes) => {
      const pieces = [...piecesOf(bytes, pieceBytes)];
      expect(Buffer.concat(pieces.map(([, piece]) => piece)).equals(Buffer.from(bytes))).toBe(true);
      expect(pieces.every(([, piece]) => piece.byteLength <= pieceBytes)).toBe(true);
      expect(pieces.map(([kind]) => kind === frameKinds.message)).toEqual([...pieces.slice(1).map(() => false), true]);
    }),
  );
});

test("an error travels with its code, words, fields and metadata", () => {
  const error = fieldError(Code.Aborted, "nö", [{ field: "a.b[2]", reason: "why" }]);
  error.metadata.set("retry-after", "7");
  const back = fromWireError(JSON.parse(JSON.stringify(toWireError(error))));
  expect([back.code, back.rawMessage, back.metadata.get("retry-after")]).toEqual([Code.Aborted, "nö", "7"]);
  expect(errorDetails(back)).toEqual([{ field: "a.b[2]", reason: "why" }]);
});

test("a frame of a version without numbers is nobody's mistake: another server may understand it", () => {
  const former = new Uint8Array([0x01, frameKinds.call, 0, 0, 0, 0, 0x0a, 0x01, 0x61]);
  expect(() => decodeFrame(former)).toThrow(expect.objectContaining({ code: Code.Unavailable }));
});
