import type { DescMessage } from "@bufbuild/protobuf";
import { boundValues } from "./bound-values.ts";
import { compressions } from "./compressions.ts";
import { headBytes } from "./whole-messages.ts";

export interface PlainMessagesOptions {
  /** Of each message. */
  readonly desc: DescMessage;
  readonly binary: boolean;
  /** What messages with the flag are packed with. */
  readonly encoding: string | null;
  readonly readMaxBytes: number;
}

const packedFlag = 1;

/**
 * The same messages in their envelopes, unpacked, and looked at before somebody makes them. What breaks the framing is left to
 * whoever reads it.
 * @param source chunks that end where messages end
 * @throws ConnectError from the iteration when a message has too many bytes or values, or cannot be unpacked
 */
export async function* plainMessages(
  source: AsyncIterable<Uint8Array>,
  { desc, binary, encoding, readMaxBytes }: PlainMessagesOptions,
): AsyncGenerator<Uint8Array> {
  const compression = compressions.find(({ name }) => name === encoding);
  for await (const chunk of source) {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let given = 0;
    for (let at = 0; at + headBytes <= chunk.byteLength;) {
      const flags = chunk[at] ?? 0;
      const size = view.getUint32(at + 1);
      const end = at + headBytes + size;
      if (size > readMaxBytes || end > chunk.byteLength) break;
      const message = chunk.subarray(at + headBytes, end);
      if ((flags & packedFlag) === 0) boundValues(desc, message, binary);
      else if (compression !== undefined) {
        const plain = await compression.decompress(message, readMaxBytes);
        boundValues(desc, plain, binary);
        if (at > given) yield chunk.subarray(given, at);
        yield envelopeOf(flags & ~packedFlag, plain);
        given = end;
      }
      at = end;
    }
    if (given < chunk.byteLength) yield chunk.subarray(given);
  }
}

function envelopeOf(flags: number, message: Uint8Array): Uint8Array {
  const envelope = Buffer.allocUnsafe(headBytes + message.byteLength);
  envelope[0] = flags;
  envelope.writeUInt32BE(message.byteLength, 1);
  envelope.set(message, headBytes);
  return envelope;
}
