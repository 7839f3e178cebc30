/** One column: its heading, what stands in it, and to which side. */
export interface Column<T> {
  readonly head: string;
  readonly cell: (row: T) => string | number | bigint;
  readonly align?: "left" | "right";
}

/** Columns two spaces apart, as wide as their widest cell. */
export function formatTable<T>(rows: readonly T[], columns: readonly Column<T>[]): string {
  const body = rows.map((row) => columns.map((column) => printable(String(column.cell(row)))));
  const widths = columns.map(({ head }, at) => Math.max(head.length, ...body.map((cells) => cells[at]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, at) =>
        columns[at]?.align === "right" ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0),
      )
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ head }) => head.toUpperCase())), ...body.map(line)].join("\n");
}

/** Names and values on lines of their own; what is empty is left out. */
export function formatFields(fields: readonly (readonly [name: string, value: string])[]): string {
  const shown = fields.filter(([, value]) => value !== "");
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${printable(value, true)}`).join("\n");
}

/** Control characters out: what a job carries must not steer the terminal of who looks at it. */
export function printable(text: string, lines = false): string {
  return text.replace(lines ? /(?!\n)\p{Cc}/gu : /\p{Cc}/gu, "\u{fffd}");
}
