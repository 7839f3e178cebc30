import { toJson, type DescMessage, type JsonObject, type JsonValue, type MessageShape } from "@bufbuild/protobuf";
import { formatTable, type Column } from "./format-table.ts";

/** Where results go: JSON for programs, text for people. */
export interface Output {
  readonly json: boolean;
  /** One document. */
  document(value: JsonValue | undefined, text: () => string): void;
  /** One document of the contract. */
  message<D extends DescMessage>(schema: D, value: MessageShape<D>, text: () => string): void;
  /** One line of many: JSON on a line of its own. */
  line<D extends DescMessage>(schema: D, value: MessageShape<D>, text: () => string): void;
  /** One line of many, of the command's own making. */
  record(value: JsonObject, text: () => string): void;
}

export function createOutput(stream: NodeJS.WritableStream, json: boolean): Output {
  const write = (text: string) => void stream.write(text.endsWith("\n") ? text : `${text}\n`);
  return {
    json,
    document(value, text) {
      write(json ? JSON.stringify(value ?? {}, null, 2) : text());
    },
    message(schema, value, text) {
      write(json ? JSON.stringify(toJson(schema, value), null, 2) : text());
    },
    line(schema, value, text) {
      write(json ? JSON.stringify(toJson(schema, value)) : text());
    },
    record(value, text) {
      write(json ? JSON.stringify(value) : text());
    },
  };
}

/** A table, or the sentence that stands for an empty one, and how to see more of it. */
export function table<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  none: string,
  nextPageToken: string = "",
): string {
  const shown = rows.length === 0 ? none : formatTable(rows, columns);
  return nextPageToken === "" ? shown : `${shown}\n\nmore: --page-token ${nextPageToken}`;
}
