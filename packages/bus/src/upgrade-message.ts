import { headerNames, idInHeader, ownIdPrefix } from "@millrace/protocol";
import { EncodedHeaders } from "./encode-headers.ts";
import { upgradeRoot } from "./former-streams.ts";
import type { ScannedMessage } from "./scan-stream.ts";

/** A message to publish. Its header lines are as they came: not every publisher's are ones that we would write. */
export interface MovedMessage {
  readonly subject: string;
  readonly headerLines: readonly string[];
  readonly data: Uint8Array;
}

/** On a message id: which message of the former stream it was. */
const tag = `${headerNames.messageId}: ${upgradeRoot}:`;
const replaced: ReadonlySet<string> = new Set([headerNames.id, headerNames.move].map((name) => name.toLowerCase()));
const encoder = new TextEncoder();

/**
 * A job of a former stream as it waits in the copy. An id that its place gave it, by the rule of that version, is written down, as
 * the place goes; and it counts as published anew, so that the row takes its next place for the newer one.
 */
export function intoCopy(
  message: ScannedMessage,
  former: { readonly stream: string; readonly createdMs: number },
): MovedMessage {
  const { subject, seq, data } = message;
  const [, , , , id] = subject.split(".");
  const kept = linesOf(message).filter((line) => !isBrokers(nameOf(line)) && !replaced.has(nameOf(line)));
  return {
    subject: `${upgradeRoot}.${subject}`,
    headerLines: [
      `${tag}${seq}`,
      ...(id === undefined || id === idInHeader ? [`${headerNames.id}: ${formerId(former, seq)}`] : []),
      `${headerNames.move}: 1`,
      ...kept,
    ],
    data,
  };
}

/** As it goes from the copy into the log. */
export function outOfCopy(message: ScannedMessage): MovedMessage {
  const { subject, data } = message;
  return {
    subject: subject.slice(upgradeRoot.length + 1),
    headerLines: linesOf(message).filter((line) => line.startsWith(tag) || !isBrokers(nameOf(line))),
    data,
  };
}

/** What a publisher expected of the stream is in its headers as well: the broker would hold us to it. */
function isBrokers(name: string): boolean {
  return name.startsWith("nats-");
}

function nameOf(line: string): string {
  return line.slice(0, line.indexOf(":")).toLowerCase();
}

/** Which message of the former stream it was; undefined for what came in by itself. */
export function formerSeq(message: ScannedMessage): number | undefined {
  const line = linesOf(message).find((one) => one.startsWith(tag));
  return line === undefined ? undefined : Number(line.slice(tag.length));
}

/** Each has one: how it was numbered in the former stream. */
export function messageIdOf({ headerLines }: MovedMessage): string {
  const line = headerLines.find((one) => one.startsWith(tag)) ?? "";
  return line.slice(headerNames.messageId.length + 2);
}

export function encodeLines(lines: readonly string[]): EncodedHeaders {
  return new EncodedHeaders(encoder.encode(`NATS/1.0\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`));
}

/** The id that the former version derived. */
function formerId({ stream, createdMs }: { readonly stream: string; readonly createdMs: number }, seq: number): string {
  const level = stream.slice(stream.lastIndexOf("_") + 1, stream.lastIndexOf("_") + 2).toLowerCase();
  return `${ownIdPrefix}${level}${createdMs.toString(36)}-${seq.toString(36)}`;
}

function linesOf({ headerBlock }: ScannedMessage): string[] {
  return headerBlock
    .split("\r\n")
    .slice(1)
    .filter((line) => line.indexOf(":") > 0);
}
