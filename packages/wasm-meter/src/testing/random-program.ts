import { op } from "../opcodes.ts";
import { GLOBALS, PARAMS, type Instruction, type Program, type ProgramFunction } from "./program.ts";

/** xorshift32: the same program for the same seed, everywhere. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed | 0) ^ 0x9e37_79b9 || 1;
    for (let index = 0; index < 4; index++) this.below(2);
  }

  below(bound: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % bound;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
}

const MAX_FUNCTIONS = 5;
const MAX_DEPTH = 5;
const LOCALS = 4;
const TABLE_ENTRIES = 4;

/** `exceptions`: whether it may throw and catch. */
export function randomProgram(seed: number, exceptions: boolean): Program {
  const random = new Random(seed);
  const count = 1 + random.below(MAX_FUNCTIONS);
  const functions: ProgramFunction[] = [];
  for (let index = 0; index < count; index++) {
    const writer = new BodyWriter(random, index, count, exceptions);
    functions.push({ exported: index === 0 || random.chance(25), locals: LOCALS + MAX_DEPTH + 1, body: writer.body() });
  }
  // The function that is run is rarely among them: most programs should end.
  const table = Array.from({ length: TABLE_ENTRIES }, () => (random.chance(90) ? count - 1 : random.below(count)));
  if (random.chance(10)) table.pop();
  return { functions, table };
}

class BodyWriter {
  readonly #random: Random;
  readonly #index: number;
  readonly #functions: number;
  readonly #exceptions: boolean;
  /** The labels around, innermost last, and whether they take a number; the function itself is the first. */
  readonly #labels: { readonly takes: boolean; readonly loop: boolean }[] = [];
  #budget: number;

  constructor(random: Random, index: number, functions: number, exceptions: boolean) {
    this.#random = random;
    this.#index = index;
    this.#functions = functions;
    this.#exceptions = exceptions;
    this.#budget = 30 + random.below(150);
  }

  body(): Instruction[] {
    this.#labels.push({ takes: true, loop: false });
    return [...this.#statements(), ...this.#statements(), ...this.#expression(0)];
  }

  #statements(): Instruction[] {
    const all: Instruction[] = [];
    for (let left = this.#random.below(5); left > 0 && this.#budget > 0; left--) all.push(...this.#statement());
    return all;
  }

  #inside(takes: boolean, write: () => Instruction[], loop = false): Instruction[] {
    this.#labels.push({ takes, loop });
    const written = write();
    this.#labels.pop();
    return written;
  }

  #statement(): Instruction[] {
    this.#budget--;
    const deep = this.#labels.length > MAX_DEPTH;
    switch (this.#random.below(deep ? 7 : 14)) {
      case 0:
        return [...this.#expression(0), { kind: "local", opcode: op.localSet, index: this.#local() }];
      case 1:
        return [...this.#expression(0), { kind: "global", opcode: op.globalSet, index: this.#random.below(GLOBALS) }];
      case 2:
        return [...this.#address(), ...this.#expression(0), { kind: "memory", opcode: I32_STORE }];
      case 3:
        return [...this.#expression(0), { kind: "plain", opcode: op.drop }];
      case 4:
        return this.#branch();
      case 5:
        return this.#rare();
      case 6:
        return [...this.#call(), { kind: "plain", opcode: op.drop }];
      case 7:
      case 8:
        return [{ kind: "block", result: false, body: this.#inside(false, () => this.#statements()) }];
      case 9:
      case 10:
        return this.#loop();
      case 11:
        if (!this.#exceptions) return this.#branch();
        return [
          {
            kind: "block",
            result: false,
            body: this.#inside(false, () => [{ kind: "try", body: this.#inside(false, () => this.#statements()) }]),
          },
        ];
      default:
        return this.#if(false, () => this.#statements());
    }
  }

  /** A loop that counts a local of its nesting down, which nothing else writes. */
  #loop(): Instruction[] {
    const counter = PARAMS + LOCALS + this.#labels.filter(({ loop }) => loop).length;
    const write = (): Instruction[] => [
      ...this.#statements(),
      { kind: "local", opcode: op.localGet, index: counter },
      { kind: "const", value: 1 },
      { kind: "plain", opcode: I32_SUB },
      { kind: "local", opcode: op.localTee, index: counter },
      { kind: "br_if", label: 0 },
    ];
    return [
      { kind: "const", value: 1 + this.#random.below(6) },
      { kind: "local", opcode: op.localSet, index: counter },
      { kind: "loop", result: false, body: this.#inside(false, write, true) },
    ];
  }

  #if(result: boolean, write: () => Instruction[]): Instruction[] {
    const condition = this.#expression(1);
    const body = this.#inside(result, write);
    const otherwise = result || this.#random.chance(50) ? this.#inside(result, write) : undefined;
    return [...condition, { kind: "if", result, body, otherwise }];
  }

  #branch(): Instruction[] {
    let label = this.#random.below(this.#labels.length);
    // A loop that is entered again from elsewhere may never end: a few such programs are enough.
    if (this.#labels.at(-1 - label)?.loop && this.#random.chance(95)) label = this.#labels.length - 1;
    const takes = this.#takes(label);
    const value = takes ? this.#expression(1) : [];
    switch (this.#random.below(12)) {
      case 0:
        return [...value, { kind: "br", label }];
      case 1: {
        const others = this.#labels.map((_, other) => other).filter((other) => this.#takes(other) === takes);
        const ends = others.filter((other) => !this.#labels.at(-1 - other)?.loop && this.#random.chance(60));
        return [...value, ...this.#expression(1), { kind: "br_table", labels: [...ends, label] }];
      }
      default:
        return [
          ...value,
          ...this.#rarely(),
          { kind: "br_if", label },
          ...(takes ? [{ kind: "plain", opcode: op.drop } as const] : []),
        ];
    }
  }

  /** A condition that holds one time in four or so. */
  #rarely(): Instruction[] {
    const mask: Instruction[] = [
      { kind: "const", value: 3 },
      { kind: "plain", opcode: I32_AND },
      { kind: "const", value: 3 },
      { kind: "plain", opcode: I32_EQ },
    ];
    return [...this.#expression(1), ...mask];
  }

  #takes(label: number): boolean {
    return this.#labels.at(-1 - label)?.takes ?? false;
  }

  /** What ends the function, or is slow. */
  #rare(): Instruction[] {
    switch (this.#random.below(8)) {
      case 0:
        if (this.#random.chance(80)) return [];
        return [...this.#expression(1), { kind: "plain", opcode: op.return }];
      case 1:
        return [{ kind: "plain", opcode: this.#random.chance(3) ? op.unreachable : op.nop }];
      case 2:
        return [{ kind: "const", value: this.#random.below(3) }, { kind: "grow" }, { kind: "plain", opcode: op.drop }];
      case 3:
        if (this.#index === this.#functions - 1 || this.#random.chance(70)) return [];
        return [...this.#expression(1), ...this.#expression(1), { kind: "return_call", callee: this.#callee() }];
      case 4:
        return this.#exceptions ? [{ kind: "throw" }] : [];
      default:
        return [...this.#address(), ...this.#expression(1), ...this.#address(), { kind: "fill" }];
    }
  }

  /** A number from 0 to 4095. */
  #address(): Instruction[] {
    return [...this.#expression(1), { kind: "const", value: 4095 }, { kind: "plain", opcode: I32_AND }];
  }

  #expression(depth: number): Instruction[] {
    this.#budget--;
    if (depth > 3 || this.#budget <= 0) return this.#leaf();
    switch (this.#random.below(10)) {
      case 0:
      case 1:
      case 2:
        return [...this.#expression(depth + 1), ...this.#expression(depth + 1), ...this.#operator()];
      case 3:
        return [...this.#address(), { kind: "memory", opcode: I32_LOAD }];
      case 4:
        return this.#labels.length > MAX_DEPTH ? this.#leaf() : this.#construct();
      case 5:
        return this.#call();
      default:
        return this.#leaf();
    }
  }

  #operator(): Instruction[] {
    const opcode = operators[this.#random.below(operators.length)] ?? I32_SUB;
    if (opcode !== I32_DIV_U || this.#random.chance(2)) return [{ kind: "plain", opcode }];
    return [
      { kind: "const", value: 1 },
      { kind: "plain", opcode: I32_OR },
      { kind: "plain", opcode },
    ];
  }

  #construct(): Instruction[] {
    const write = (): Instruction[] => [...this.#statements(), ...this.#expression(2)];
    if (this.#random.chance(50)) return this.#if(true, write);
    return [{ kind: "block", result: true, body: this.#inside(true, write) }];
  }

  #call(): Instruction[] {
    const last = this.#index === this.#functions - 1;
    if (last && this.#random.chance(95)) return this.#leaf();
    const args = [...this.#expression(2), ...this.#expression(2)];
    if (!last && this.#random.chance(20)) {
      return [
        ...args,
        ...this.#leaf(),
        { kind: "const", value: 3 },
        { kind: "plain", opcode: I32_AND },
        { kind: "call_indirect" },
      ];
    }
    return [...args, { kind: "call", callee: this.#callee() }];
  }

  /** Mostly a later function: a few programs recurse, and not all of them for ever. */
  #callee(): number {
    const later = this.#functions - this.#index - 1;
    if (this.#random.chance(later === 0 ? 100 : 2)) return this.#random.below(this.#functions);
    return this.#index + 1 + this.#random.below(later);
  }

  #leaf(): Instruction[] {
    switch (this.#random.below(3)) {
      case 0:
        return [{ kind: "const", value: this.#random.below(64) - 8 }];
      case 1:
        return [{ kind: "global", opcode: op.globalGet, index: this.#random.below(GLOBALS) }];
      default:
        return [{ kind: "local", opcode: op.localGet, index: this.#local() }];
    }
  }

  #local(): number {
    return this.#random.below(PARAMS + LOCALS);
  }
}

export const I32_LOAD = 0x28;
export const I32_STORE = 0x36;
export const I32_SUB = 0x6b;
export const I32_AND = 0x71;
const I32_EQ = 0x46;
const I32_OR = 0x72;
const I32_DIV_U = 0x6e;
/** i32: eq, lt_s, lt_u, add, sub, mul, div_u, and, or, xor. */
const operators = [0x46, 0x48, 0x49, 0x6a, 0x6b, 0x6c, 0x6e, 0x71, 0x72, 0x73];
