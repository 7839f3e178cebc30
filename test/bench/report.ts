/** One row of the report: what was measured, beside what it is held against. */
export interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** What the value is divided by, its value, and the least (or most) the ratio should be. */
  readonly against?: readonly {
    readonly name: string;
    readonly value: number;
    readonly atLeast?: number;
    readonly atMost?: number;
  }[];
  readonly atLeast?: number;
  readonly atMost?: number;
}

function number(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en-US");
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function verdict(value: number, bound: { readonly atLeast?: number; readonly atMost?: number }): string {
  if (bound.atLeast !== undefined) return `≥ ${number(bound.atLeast)} ${value >= bound.atLeast ? "ok" : "SHORT"}`;
  if (bound.atMost !== undefined) return `≤ ${number(bound.atMost)} ${value <= bound.atMost ? "ok" : "SHORT"}`;
  return "";
}

/** The rows as text for people. */
export function renderRows(rows: readonly Row[]): string {
  const lines: string[] = [];
  for (const row of rows) {
    lines.push(`${row.what}: ${number(row.value)} ${row.unit} ${verdict(row.value, row)}`.trimEnd());
    for (const other of row.against ?? []) {
      const ratio = row.value / other.value;
      lines.push(
        `    ÷ ${other.name} (${number(other.value)}) = ${ratio.toFixed(2)} ${verdict(ratio, other)}`.trimEnd(),
      );
    }
  }
  return lines.join("\n");
}
