import { once } from "node:events";
import { connect } from "node:net";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BodyWatch } from "./body-watch.ts";
import { listenDoor, testPipeline, type Listening } from "./fixture.ts";
import { envelopeEnds, lineEnds, wholeMessages, type MessageEnds } from "./whole-messages.ts";

const readMaxBytes = 200_000;
const watch = new BodyWatch({ timeoutMs: 300, maxHeldBytes: 300_000 });
let http: Listening;
beforeAll(async () => {
  http = await listenDoor(testPipeline({ limits: { readMaxBytes } }), { bodies: watch });
});
afterAll(async () => {
  await http[Symbol.asyncDispose]();
  watch[Symbol.dispose]();
});

const envelope = (bytes: Uint8Array): Buffer => {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([head, bytes]);
};
const line = (bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(bytes.map((byte) => (byte === 10 ? 32 : byte))), Buffer.from("\n")]);

async function* inChunks(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, n = 0; at < bytes.byteLength; n += 1) {
    const size = sizes[n % sizes.length] ?? 1;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

test.for([
  ["envelopes", envelope, envelopeEnds],
  ["lines", line, lineEnds],
] as const)("%s come as they were sent, and whole, however they are cut", async ([, frame, endsOf]) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 5 }),
      fc.uint8Array({ maxLength: 3 }),
      async (messages, sizes, rest) => {
        const whole = messages.map(frame);
        const begun = Buffer.from(rest.map((byte) => (byte === 10 ? 0 : byte)));
        const body = Buffer.concat([...whole, begun]);
        let total = 0;
        const boundaries = new Set(whole.map((one) => (total += one.byteLength)));
        const ends: MessageEnds = endsOf(1_000);
        const pieces: Buffer[] = [];
        for await (const piece of wholeMessages(inChunks(body, sizes), ends)) pieces.push(Buffer.from(piece));
        expect(Buffer.concat(pieces)).toEqual(body);
        expect(pieces.length).toBeLessThanOrEqual(messages.length + 1);
        let at = 0;
        for (const piece of pieces.slice(0, -1)) expect(boundaries).toContain((at += piece.byteLength));
      },
    ),
  );
});

test("what is too large is passed on at once, to be refused", async () => {
  const seen: number[] = [];
  const begun = Buffer.concat([Buffer.from([0, 0, 0, 4, 0]), Buffer.alloc(100)]);
  for await (const piece of wholeMessages(inChunks(begun, [50]), envelopeEnds(1_000))) seen.push(piece.byteLength);
  expect(seen).toEqual([50, 50, 5]);
  const long = Buffer.alloc(2_500, "x");
  let lines = 0;
  for await (const piece of wholeMessages(inChunks(long, [100]), lineEnds(1_000))) {
    lines += 1;
    if (lines === 1) expect(piece.byteLength).toBe(1_100);
  }
  expect(lines).toBe(15);
});

/** Begins an upload, and resolves with the answer. */
async function upload(
  begin: string,
  go?: (send: (text: string) => void, closed: Promise<unknown>) => Promise<void>,
): Promise<string> {
  const socket = connect(http.port, "127.0.0.1");
  let answer = "";
  socket.on("data", (chunk: Buffer) => (answer += chunk.toString("latin1")));
  socket.on("error", () => {});
  const size = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;
  socket.write(
    `POST /api/v1/jobs:stream HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n${size(begin)}`,
  );
  const closed = once(socket, "close");
  await go?.((text) => socket.write(text === "" ? "0\r\n\r\n" : size(text)), closed);
  await closed;
  return answer;
}

test("an upload may take its time between its messages, and not within one", async () => {
  const { promise: othersAreLate, resolve: goOn } = Promise.withResolvers<void>();
  const patient = upload('{"type":"a"}\n', async (send) => {
    await othersAreLate;
    send('{"type":"b"}\n');
    send("");
  });
  expect(await upload('{"type":')).toContain('"code":"deadline_exceeded"');
  // By drops it is as late.
  const dribbled = upload('{"type":', async (send, closed) => {
    const drops = setInterval(() => send(" "), 60);
    await closed;
    clearInterval(drops);
  });
  expect(await dribbled).toContain('"code":"deadline_exceeded"');
  goOn();
  expect(await patient).toContain('{"accepted":"2"}');
});

test("messages of uploads that are not whole share what is held of all bodies, and give it back", async () => {
  const begun = `{"type":"${"x".repeat(140_000)}`;
  const answers = await Promise.all([1, 2, 3].map(() => upload(begun)));
  expect(answers.filter((answer) => answer.includes("too many large requests at once"))).toHaveLength(1);
  expect(answers.filter((answer) => answer.includes("deadline_exceeded"))).toHaveLength(2);
  const whole = `{"type":"a","correlationId":"${"x".repeat(100)}"}\n`;
  expect(await upload(whole, async (send) => send(""))).toContain('{"accepted":"1"}');
});
