import {
  create,
  fromBinary,
  fromJsonString,
  toBinary,
  toJsonString,
  type DescMessage,
  type Message,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

const decoder = new TextDecoder();

/** Both encodings of one message type; same words for what does not parse as Connect's own. */
export interface Codec {
  readonly desc: DescMessage;
  decode(bytes: Uint8Array, binary: boolean): Message;
  encode(message: Message, binary: boolean): Uint8Array;
  /** Protobuf JSON text. */
  encodeJson(message: Message): string;
}

// A frozen message cannot change (its author has frozen it deeply, by contract), so its bytes are made once.
interface Encoded {
  json?: string;
  jsonBytes?: Uint8Array;
  binary?: Uint8Array;
}
const frozen = new WeakMap<Message, Encoded>();

function encodedOf(message: Message): Encoded {
  let encoded = frozen.get(message);
  if (encoded === undefined) frozen.set(message, (encoded = {}));
  return encoded;
}

export function createCodec(desc: DescMessage): Codec {
  const hasFields = desc.fields.length > 0;

  function writeJson(message: Message): string {
    try {
      return toJsonString(desc, message);
    } catch (reason) {
      throw ConnectError.from(reason, Code.Internal);
    }
  }

  function encodeJson(message: Message): string {
    if (!Object.isFrozen(message)) return writeJson(message);
    return (encodedOf(message).json ??= writeJson(message));
  }

  function writeBinary(message: Message): Uint8Array {
    try {
      return toBinary(desc, message);
    } catch (reason) {
      throw new ConnectError(`serialize binary: ${words(reason)}`, Code.Internal);
    }
  }

  return {
    desc,
    encodeJson,
    decode(bytes, binary) {
      if (binary) {
        if (bytes.byteLength === 0) return create(desc);
        try {
          return fromBinary(desc, bytes);
        } catch (reason) {
          throw new ConnectError(`parse binary: ${words(reason)}`, Code.InvalidArgument);
        }
      }
      // `{}` for a message without fields is what most callers of such methods send.
      if (!hasFields && bytes.byteLength === 2 && bytes[0] === 0x7b && bytes[1] === 0x7d) return create(desc);
      try {
        return fromJsonString(desc, decoder.decode(bytes), { ignoreUnknownFields: true });
      } catch (reason) {
        throw ConnectError.from(reason, Code.InvalidArgument);
      }
    },
    encode(message, binary) {
      if (!Object.isFrozen(message)) return binary ? writeBinary(message) : Buffer.from(writeJson(message));
      const encoded = encodedOf(message);
      if (binary) return (encoded.binary ??= writeBinary(message));
      return (encoded.jsonBytes ??= Buffer.from(encodeJson(message)));
    },
  };
}

function words(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
