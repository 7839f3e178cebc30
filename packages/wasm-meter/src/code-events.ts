/** What the rewriter does at a place in a function. */
export const eventKind = {
  /** Subtract the fuel in `value` before the instruction at this place. */
  charge: 0,
  /** The same, and stop when none is left: the head of a loop. */
  checkedCharge: 1,
  /** A call of the function `value`, or of an unknown one (UNKNOWN_CALLEE). */
  call: 2,
  tailCall: 3,
  /** The function is left here, or may be. */
  exit: 4,
  /** The length on top of the stack is charged, shifted right by `value`, or left where that is negative. */
  bulk: 5,
  /** The instruction becomes a call of a function that charges, grows and marks a refusal; `value` is a table or MEMORY. */
  grow: 6,
} as const;

/** The `value` of a call whose callee is known at run time only. */
export const UNKNOWN_CALLEE = -1;
/** The `value` of a grow of the memory. */
export const MEMORY = -1;

const FIELDS = 5;

/** A growing list of events in the order of their places, without an object for each. */
export class CodeEvents {
  #fields = new Int32Array(FIELDS * 1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /**
   * @param at where in the file
   * @param size bytes of the instruction that it is about, 0 when it stands before one
   * @param charge of a call: the event that charges for it
   */
  add(kind: number, at: number, size: number, value: number, charge = 0): number {
    const from = this.#length * FIELDS;
    if (from === this.#fields.length) {
      const grown = new Int32Array(this.#fields.length * 2);
      grown.set(this.#fields);
      this.#fields = grown;
    }
    this.#fields[from] = kind;
    this.#fields[from + 1] = at;
    this.#fields[from + 2] = size;
    this.#fields[from + 3] = value;
    this.#fields[from + 4] = charge;
    return this.#length++;
  }

  kind(index: number): number {
    return this.#fields[index * FIELDS] ?? 0;
  }

  at(index: number): number {
    return this.#fields[index * FIELDS + 1] ?? 0;
  }

  size(index: number): number {
    return this.#fields[index * FIELDS + 2] ?? 0;
  }

  value(index: number): number {
    return this.#fields[index * FIELDS + 3] ?? 0;
  }

  /** The event that charges for a call. */
  charge(index: number): number {
    return this.#fields[index * FIELDS + 4] ?? 0;
  }

  /** Makes a charge nothing. */
  clear(index: number): void {
    this.#fields[index * FIELDS + 3] = 0;
  }

  /** Adds to a charge and returns its sum. */
  increase(index: number, fuel: number): number {
    const field = index * FIELDS + 3;
    const sum = (this.#fields[field] ?? 0) + fuel;
    this.#fields[field] = sum;
    return sum;
  }
}
