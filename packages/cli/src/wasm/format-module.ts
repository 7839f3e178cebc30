import type { MeterReport, ModuleReport, SizeReport } from "@millrace/wasm-meter";
import { formatFields, formatTable } from "../format-table.ts";

export function formatModule(report: ModuleReport): string {
  return sections([facts(report), importsTable(report), exportsTable(report)]);
}

export function formatMetering(
  report: MeterReport,
  run: { readonly path: string; readonly elapsedMs: number },
): string {
  const growth = report.codeBytes === 0 ? "" : ` (${(report.codeBytesAfter / report.codeBytes).toFixed(2)} ×)`;
  const fields = formatFields([
    ["written", run.path],
    ["bytes", `${report.bytes} → ${report.bytesAfter}`],
    ["code", `${report.codeBytes} → ${report.codeBytesAfter} bytes${growth}`],
    ["rewritten in", `${run.elapsedMs.toFixed(2)} ms`],
    ["call depth", String(report.limits.callDepth)],
    ["start", report.start === null ? "" : `export ${report.start}; the host calls it first`],
    ["left out", report.dropped.length === 0 ? "" : `custom sections ${report.dropped.join(", ")}`],
  ]);
  const clamped = formatTable(report.clamped, [
    { head: "clamped", cell: ({ what, index }) => `${what} ${index}` },
    { head: "before", cell: ({ before }) => before ?? "unbounded", align: "right" },
    { head: "after", cell: ({ after }) => after, align: "right" },
  ]);
  return sections([fields, report.clamped.length === 0 ? "" : clamped]);
}

function facts(report: ModuleReport): string {
  const { state } = report;
  return formatFields([
    ["bytes", String(report.bytes)],
    ["code", `${report.codeBytes} bytes in ${report.functions} functions`],
    ["memory", report.memory === null ? "none" : size(report.memory, "pages")],
    ...report.tables.map((table, at): [string, string] => [
      `table ${at}`,
      `${size(table, "entries")} of ${table.type}`,
    ]),
    ["start", report.startFunction === null ? "" : `function ${report.startFunction}`],
    ["features", report.features.join(", ")],
    ["custom", report.customSections.map(({ name, bytes }) => `${name} (${bytes} bytes)`).join(", ")],
    [
      "state",
      state.restorable ? "can be put back from memory and globals" : `cannot be put back: ${state.reasons.join("; ")}`,
    ],
  ]);
}

function importsTable({ imports }: ModuleReport): string {
  if (imports.length === 0) return "";
  return formatTable(imports, [
    { head: "import", cell: ({ module, name }) => `${module} ${name}` },
    { head: "kind", cell: ({ kind }) => kind },
    { head: "type", cell: ({ type }) => type },
  ]);
}

function exportsTable({ exports }: ModuleReport): string {
  if (exports.length === 0) return "";
  return formatTable(exports, [
    { head: "export", cell: ({ name }) => name },
    { head: "kind", cell: ({ kind }) => kind },
    { head: "type", cell: ({ type }) => type },
  ]);
}

function size({ min, max, imported }: SizeReport, unit: string): string {
  return `${min} ${unit}, at most ${max ?? "unbounded"}${imported ? ", imported" : ""}`;
}

function sections(texts: readonly string[]): string {
  return texts.filter((text) => text !== "").join("\n\n");
}
