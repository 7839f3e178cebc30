import type { JsonValue } from "@bufbuild/protobuf";
import type { Dice } from "./dice.ts";
import { oddTexts } from "./message-arbitrary.ts";

// Deep enough for a recursive reader to run out of stack, and small enough to send a thousand times.
const deepLevels = 20_000;

/** JSON texts that stand for values of the wrong kind; some are no JSON. */
const oddValues = [
  "null",
  "true",
  "0",
  "-1",
  "1e400",
  "-0",
  "1.5",
  "123456789012345678901234567890",
  "18446744073709551616",
  '"NaN"',
  '"Infinity"',
  "NaN",
  "undefined",
  '""',
  '"\\ud800"',
  '"\\u0000"',
  '"\\udfff\\ud800"',
  "[]",
  "{}",
  "[[]]",
  "[null]",
  '{"":""}',
  '{"__proto__":{"x":1}}',
  '{"@type":"type.googleapis.com/google.protobuf.Any"}',
  '"2024-02-30T25:61:61Z"',
  '"0001-01-01T00:00:00Z"',
  '"9999-12-31T23:59:59.999999999Z"',
] as const;

/** Makes some values of a JSON object wrong, and writes it down. */
export function spoilJson(json: JsonValue, dice: Dice): string {
  const text = JSON.stringify(json);
  switch (dice.below(8)) {
    case 0:
      return text.slice(0, dice.below(text.length + 1));
    case 1:
      return text.replace("{", `{${JSON.stringify(dice.pick(oddTexts))}:${dice.pick(oddValues)},`).replace(",}", "}");
    case 2:
      return dice.percent(50) ? deepArray() : text.replace(/:[^,{}[\]]+/, () => `:${deepArray()}`);
    case 3:
      return dice.pick(oddValues);
    case 4: {
      // The same name twice.
      const [first] = text.match(/"[^"]+":/) ?? ['"id":'];
      return text.replace("{", `{${first}${dice.pick(oddValues)},`).replace(",}", "}");
    }
    default:
      return replaceSome(text, dice);
  }
}

function deepArray(): string {
  return "[".repeat(deepLevels) + "]".repeat(deepLevels);
}

/** Puts odd values in the place of one or more that are there. */
function replaceSome(text: string, dice: Dice): string {
  const share = dice.pick([20, 50, 100]);
  return text.replaceAll(/(?<=[:[,])(?:"(?:[^"\\]|\\.)*"(?!:)|-?\d[\d.e+-]*|true|false|null)/g, (value) => {
    if (!dice.percent(share)) return value;
    return dice.percent(40) ? JSON.stringify(dice.pick(oddTexts)) : dice.pick(oddValues);
  });
}

/** Makes protobuf bytes wrong: cut, changed, with more behind them, or no protobuf at all. */
export function spoilBytes(bytes: Uint8Array, dice: Dice): Uint8Array {
  switch (dice.below(7)) {
    case 0:
      return bytes.subarray(0, dice.below(bytes.byteLength + 1));
    case 1:
      return dice.bytes(dice.below(200));
    case 2:
      return Buffer.concat([bytes, dice.pick(tails)]);
    case 3:
      return deepGroups(dice.percent(50));
    default: {
      const changed = Uint8Array.from(bytes);
      for (let count = dice.below(6) + 1; count > 0 && changed.byteLength > 0; count -= 1) {
        changed[dice.below(changed.byteLength)] = dice.percent(40) ? 0xff : dice.below(256);
      }
      return changed;
    }
  }
}

/** Unknown fields, lengths beyond the end, numbers that are too long, wire types that there are not. */
const tails = [
  [0xf8, 0xff, 0xff, 0xff, 0x07, 0x01],
  [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
  [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  [0x0a, 0x02, 0xc3, 0x28],
  [0x0e],
  [0x07],
  [0x00, 0x00],
  [0x0b],
  [0x0c],
].map((bytes) => Uint8Array.from(bytes));

/** Groups in groups, closed or not: what a reader that skips unknown fields by recursion trips over. */
function deepGroups(closed: boolean): Uint8Array {
  // Field 99, which no message has.
  const starts = Buffer.from("9b06".repeat(deepLevels), "hex");
  return closed ? Buffer.concat([starts, Buffer.from("9c06".repeat(deepLevels), "hex")]) : starts;
}
