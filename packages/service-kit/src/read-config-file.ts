import { readFileSync } from "node:fs";
import { parse } from "yaml";
import type { ConfigProblem } from "./config-error.ts";

/** Bound on the file: a wrong path must not read a disk image into memory. */
const maxFileBytes = 1 << 20;

/** Reads a YAML file into settings; `http: { port: 1 }` is the setting `httpPort`. */
export function readConfigFile(
  file: string,
  known: ReadonlySet<string>,
  problems: ConfigProblem[],
): Map<string, unknown> {
  const found = new Map<string, unknown>();
  try {
    const text = readFileSync(file, "utf8");
    if (text.length > maxFileBytes) throw new Error(`is larger than ${maxFileBytes} bytes`);
    const document: unknown = parse(text, { maxAliasCount: 20 });
    if (isObject(document)) flatten(document, "", known, found);
    else if (document !== null) throw new Error("must be a YAML mapping");
  } catch (error) {
    problems.push({ key: "config", origin: file, reason: error instanceof Error ? error.message : String(error) });
  }
  return found;
}

function flatten(
  from: Record<string, unknown>,
  prefix: string,
  known: ReadonlySet<string>,
  into: Map<string, unknown>,
): void {
  for (const [name, value] of Object.entries(from)) {
    const camel = name.replace(/[-_]+(.)/g, (_, letter: string) => letter.toUpperCase());
    const key = prefix === "" ? camel : prefix + camel.charAt(0).toUpperCase() + camel.slice(1);
    if (!known.has(key) && isObject(value)) flatten(value, key, known, into);
    else if (value !== null) into.set(key, value);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
