import { readFile } from "node:fs/promises";
import { MillraceError } from "@millrace/protocol";

const utf8 = new TextDecoder("utf-8", { fatal: true });
/** Above what any server takes: an endless input ends here. */
const mostBytes = 64 << 20;

/**
 * A payload from the command line: text as it stands, `-` standard input, `@file` a file. What is JSON travels as JSON, other
 * text as text, the rest as bytes.
 */
export async function readPayload(
  argument: string | undefined,
  stdin: AsyncIterable<Uint8Array>,
): Promise<object | string | Uint8Array | undefined> {
  if (argument === undefined) return undefined;
  if (argument === "-") return decodePayload(await readAll(stdin));
  if (argument.startsWith("@")) return decodePayload(await readInput(argument.slice(1)));
  return asJson(argument) ?? argument;
}

/** @throws MillraceError invalid_argument when it cannot be read */
export async function readInput(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new MillraceError("invalid_argument", `cannot read ${path}: ${why}`, { cause });
  }
}

function decodePayload(bytes: Uint8Array): object | string | Uint8Array {
  try {
    const text = utf8.decode(bytes);
    return asJson(text) ?? text;
  } catch {
    return new Uint8Array(bytes);
  }
}

/** Objects and arrays only: a bare number or word is meant as text more often than not. */
function asJson(text: string): object | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes > mostBytes) throw new MillraceError("out_of_range", `the payload exceeds ${mostBytes} bytes`);
  }
  return Buffer.concat(chunks);
}
