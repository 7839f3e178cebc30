/** Names of formats come from publishers: more than this many are counted together. */
const mostNames = 32;
const mostNameChars = 64;
const others = "others";

/** Counts messages of formats that this worker does not read. */
export class UnknownFormats {
  readonly #counts = new Map<string, number>();

  /** @returns whether it is the first of its format */
  count(format: string): boolean {
    const shown = format.slice(0, mostNameChars);
    const name = this.#counts.has(shown) || this.#counts.size < mostNames ? shown : others;
    const before = this.#counts.get(name) ?? 0;
    this.#counts.set(name, before + 1);
    return before === 0;
  }

  /** Deliveries so far, by format. */
  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }
}
