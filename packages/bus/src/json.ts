/** Reads a broker's JSON: what is missing or of another type has a neutral value, as old servers leave fields out. */
export class JsonObject {
  readonly #value: Readonly<Record<string, unknown>>;

  constructor(value: unknown) {
    this.#value = typeof value === "object" && value !== null ? { ...value } : {};
  }

  static parse(bytes: Uint8Array): JsonObject {
    return new JsonObject(bytes.length === 0 ? {} : JSON.parse(decoder.decode(bytes)));
  }

  has(key: string): boolean {
    return this.#value[key] !== undefined && this.#value[key] !== null;
  }

  number(key: string): number {
    const value = this.#value[key];
    return typeof value === "number" ? value : 0;
  }

  string(key: string): string {
    const value = this.#value[key];
    return typeof value === "string" ? value : "";
  }

  boolean(key: string): boolean {
    return this.#value[key] === true;
  }

  object(key: string): JsonObject {
    return new JsonObject(this.#value[key]);
  }

  list(key: string): readonly unknown[] {
    const value = this.#value[key];
    return Array.isArray(value) ? value : [];
  }

  strings(key: string): readonly string[] {
    return this.list(key).filter((item) => typeof item === "string");
  }

  /** The value as it was decoded, to send back with changes. */
  raw(): Readonly<Record<string, unknown>> {
    return this.#value;
  }
}

const decoder = new TextDecoder();
