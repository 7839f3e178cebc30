import type { PartResult } from "./run-part.ts";

export interface Row {
  readonly server: string;
  /** By part. */
  readonly cells: Map<string, PartResult>;
}

/** One line a server, one column a part. */
export function formatTable(rows: readonly Row[]): string {
  const parts = [...new Set(rows.flatMap(({ cells }) => [...cells.keys()]))];
  const lines = [
    ["", ...parts],
    ...rows.map(({ server, cells }) => [server, ...parts.map((part) => formatCell(cells.get(part)))]),
  ];
  const widths = ["", ...parts].map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function formatCell(result: PartResult | undefined): string {
  if (result === undefined) return "-";
  const { ok, passed, failed, skipped } = result;
  const counts = [`${passed} passed`, failed > 0 ? `${failed} failed` : "", skipped > 0 ? `${skipped} skipped` : ""];
  return `${ok ? "ok" : "FAILED"}: ${counts.filter((count) => count !== "").join(", ")}`;
}
