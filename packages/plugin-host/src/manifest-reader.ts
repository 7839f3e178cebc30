import type { ErrorDetail } from "@millrace/protocol";

type Fields = Record<string, unknown>;

/** Reads the fields of one mapping, of what a YAML or JSON parser made, and collects all that is wrong with them. */
export class ManifestReader {
  readonly problems: ErrorDetail[];
  readonly #fields: Fields;
  readonly #prefix: string;

  constructor(fields: Fields, known: readonly string[], problems: ErrorDetail[] = [], prefix = "") {
    this.#fields = fields;
    this.problems = problems;
    this.#prefix = prefix;
    for (const name of Object.keys(fields)) {
      if (!known.includes(name)) this.refuse(name, "is not a field of a plugin manifest");
    }
  }

  refuse(name: string, reason: string): void {
    this.problems.push({ field: `${this.#prefix}${name}`, reason });
  }

  /** @returns "" for a text that is missing or does not pass, which is a problem unless there is a fallback */
  text(name: string, passes: (text: string) => boolean, rule: string, fallback?: string): string {
    const found = this.#fields[name] ?? fallback;
    if (typeof found === "string" && (found === fallback || passes(found))) return found;
    this.refuse(name, found === undefined ? `is missing; ${rule}` : rule);
    return "";
  }

  flag(name: string): boolean {
    const found = this.#fields[name] ?? false;
    if (typeof found !== "boolean") this.refuse(name, "must be true or false");
    return found === true;
  }

  /** A whole number; 0 when it is left out. */
  integer(name: string, least: number, most: number): number {
    const found = this.#fields[name];
    if (found == null) return 0;
    if (typeof found === "number" && Number.isInteger(found) && found >= least && found <= most) return found;
    this.refuse(name, `must be a whole number from ${least} to ${most}`);
    return 0;
  }

  /** One of the names; undefined with a problem otherwise. */
  choice<T>(name: string, choices: Readonly<Record<string, T>>): T | undefined {
    const found = this.#fields[name];
    const chosen = typeof found === "string" && Object.hasOwn(choices, found) ? choices[found] : undefined;
    if (chosen === undefined) this.refuse(name, `must be ${Object.keys(choices).join(" or ")}`);
    return chosen;
  }

  texts(name: string, most: number, passes: (text: string) => boolean, rule: string): string[] {
    return this.#list(name, most).flatMap((item, index) => {
      if (typeof item === "string" && passes(item)) return [item];
      this.refuse(`${name}[${index}]`, rule);
      return [];
    });
  }

  /** A list of mappings, each read by `read`. */
  mappings<T>(name: string, most: number, known: readonly string[], read: (item: ManifestReader) => T): T[] {
    return this.#list(name, most).flatMap((item, index) => {
      const at = `${name}[${index}]`;
      if (isRecord(item)) return [read(new ManifestReader(item, known, this.problems, `${this.#prefix}${at}.`))];
      this.refuse(at, `must be a mapping of ${known.join(", ")}`);
      return [];
    });
  }

  /** A mapping; an empty one when it is left out. */
  mapping(name: string, known: readonly string[]): ManifestReader {
    return new ManifestReader(this.record(name), known, this.problems, `${this.#prefix}${name}.`);
  }

  record(name: string): Fields {
    const found = this.#fields[name] ?? {};
    if (isRecord(found)) return found;
    this.refuse(name, "must be a mapping");
    return {};
  }

  raw(name: string): unknown {
    return this.#fields[name];
  }

  #list(name: string, most: number): readonly unknown[] {
    const found = this.#fields[name] ?? [];
    if (Array.isArray(found) && found.length <= most) return found;
    this.refuse(name, `must be a list of at most ${most}`);
    return [];
  }
}

export function isRecord(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
