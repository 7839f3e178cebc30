import { fuelCosts, instructionFuel } from "../fuel-costs.ts";
import { op } from "../opcodes.ts";
import { GLOBALS, MAX_PAGES, MEMORY_PAGES, PARAMS, type Instruction, type Program } from "./program.ts";
import { I32_LOAD } from "./random-program.ts";

/** How a run ended, and the fuel of every instruction that it executed. */
export interface Run {
  readonly fuel: number;
  /** `unknown`: it ran longer or deeper than this interpreter follows. */
  readonly end: { readonly result: number } | "trap" | "exception" | "unknown";
}

const PAGE_BYTES = 65_536;
const MAX_LEVELS = 200;

class Trap extends Error {}
class Thrown extends Error {}
class GivenUp extends Error {}

/** Runs a program's first function one instruction after the other, adding up what each costs. It shares no code with the rewriter. */
export function runProgram(program: Program, args: readonly number[], maxFuel: number): Run {
  const machine = new Machine(program, maxFuel);
  try {
    return { end: { result: machine.call(0, args) }, fuel: machine.fuel };
  } catch (error) {
    const end = error instanceof Trap ? "trap" : error instanceof Thrown ? "exception" : "unknown";
    if (end === "unknown" && !(error instanceof GivenUp)) throw error;
    return { end, fuel: machine.fuel };
  }
}

/** A body went on to its end, or left for the label that is this many constructs outwards. */
type Next = number;
const GOES_ON = -1;

class Machine {
  fuel = 0;
  readonly #program: Program;
  readonly #maxFuel: number;
  readonly #globals = new Int32Array(GLOBALS);
  readonly #memory = new DataView(new ArrayBuffer(MAX_PAGES * PAGE_BYTES));
  #pages = MEMORY_PAGES;
  #level = 0;

  constructor(program: Program, maxFuel: number) {
    this.#program = program;
    this.#maxFuel = maxFuel;
  }

  call(first: number, firstArgs: readonly number[]): number {
    if (++this.#level > MAX_LEVELS) throw new GivenUp();
    let index = first;
    let args = firstArgs;
    for (;;) {
      const frame = new Frame(this.#program.functions[index]?.locals ?? 0, args);
      this.#run(this.#program.functions[index]?.body ?? [], frame);
      const { tail } = frame;
      if (!tail) {
        this.#level--;
        return frame.pop();
      }
      index = tail.callee;
      args = tail.args;
    }
  }

  #run(body: readonly Instruction[], frame: Frame): Next {
    for (const instruction of body) {
      const next = this.#step(instruction, frame);
      if (next !== GOES_ON) return next;
    }
    return GOES_ON;
  }

  #pay(fuel: number): void {
    this.fuel += fuel;
    if (this.fuel > this.#maxFuel) throw new GivenUp();
  }

  #step(instruction: Instruction, frame: Frame): Next {
    switch (instruction.kind) {
      case "const":
        frame.push(instruction.value);
        return GOES_ON;
      case "local":
        if (instruction.opcode === op.localGet) frame.push(frame.locals[instruction.index] ?? 0);
        else {
          const value = frame.pop();
          frame.locals[instruction.index] = value;
          if (instruction.opcode === op.localTee) frame.push(value);
        }
        return GOES_ON;
      case "global":
        this.#pay(instructionFuel[instruction.opcode] ?? 0);
        if (instruction.opcode === op.globalGet) frame.push(this.#globals[instruction.index] ?? 0);
        else this.#globals[instruction.index] = frame.pop();
        return GOES_ON;
      case "plain":
        return this.#plain(instruction.opcode, frame);
      case "block":
        return this.#construct(instruction.body, frame, instruction.result);
      case "loop":
        for (;;) {
          const height = frame.height;
          const next = this.#run(instruction.body, frame);
          if (next !== 0) return next === GOES_ON ? GOES_ON : next - 1;
          frame.unwind(height, false);
        }
      case "if": {
        this.#pay(1);
        const body = frame.pop() === 0 ? (instruction.otherwise ?? []) : instruction.body;
        return this.#construct(body, frame, instruction.result);
      }
      case "try":
        return this.#try(instruction.body, frame);
      case "throw":
        this.#pay(instructionFuel[op.throw] ?? 0);
        throw new Thrown();
      case "br":
        this.#pay(instructionFuel[op.br] ?? 0);
        return instruction.label;
      case "br_if":
        this.#pay(instructionFuel[op.brIf] ?? 0);
        return frame.pop() === 0 ? GOES_ON : instruction.label;
      case "br_table": {
        this.#pay(instructionFuel[op.brTable] ?? 0);
        const index = frame.pop() >>> 0;
        return instruction.labels[Math.min(index, instruction.labels.length - 1)] ?? 0;
      }
      case "call":
        this.#pay(instructionFuel[op.call] ?? 0);
        frame.push(this.call(instruction.callee, frame.take(PARAMS)));
        return GOES_ON;
      case "return_call":
        this.#pay(instructionFuel[op.returnCall] ?? 0);
        frame.tail = { callee: instruction.callee, args: frame.take(PARAMS) };
        return Number.MAX_SAFE_INTEGER;
      case "call_indirect": {
        this.#pay(instructionFuel[op.callIndirect] ?? 0);
        const callee = this.#program.table[frame.pop()];
        if (callee === undefined) throw new Trap();
        frame.push(this.call(callee, frame.take(PARAMS)));
        return GOES_ON;
      }
      case "memory":
        this.#access(instruction.opcode, frame);
        return GOES_ON;
      case "fill":
        this.#fill(frame);
        return GOES_ON;
      case "grow":
        this.#grow(frame);
        return GOES_ON;
    }
  }

  #construct(body: readonly Instruction[], frame: Frame, result: boolean): Next {
    const height = frame.height;
    const next = this.#run(body, frame);
    if (next === 0) frame.unwind(height, result);
    return next <= 0 ? GOES_ON : next - 1;
  }

  #try(body: readonly Instruction[], frame: Frame): Next {
    const height = frame.height;
    const level = this.#level;
    try {
      return this.#construct(body, frame, false);
    } catch (error) {
      if (!(error instanceof Thrown)) throw error;
      this.#level = level;
      frame.unwind(height, false);
      return 0;
    }
  }

  #plain(opcode: number, frame: Frame): Next {
    this.#pay(instructionFuel[opcode] ?? 0);
    switch (opcode) {
      case op.nop:
        return GOES_ON;
      case op.drop:
        frame.pop();
        return GOES_ON;
      case op.unreachable:
        throw new Trap();
      case op.return:
        return Number.MAX_SAFE_INTEGER;
      default: {
        const b = frame.pop();
        frame.push(calculate(opcode, frame.pop(), b));
        return GOES_ON;
      }
    }
  }

  #access(opcode: number, frame: Frame): void {
    this.#pay(instructionFuel[opcode] ?? 0);
    if (opcode === I32_LOAD) {
      frame.push(this.#memory.getInt32(frame.pop(), true));
      return;
    }
    const value = frame.pop();
    this.#memory.setInt32(frame.pop(), value, true);
  }

  #fill(frame: Frame): void {
    const length = frame.pop();
    const value = frame.pop();
    const at = frame.pop();
    this.#pay(fuelCosts.bulk + (length >>> fuelCosts.bulkBytesShift));
    new Uint8Array(this.#memory.buffer).fill(value & 0xff, at, at + length);
  }

  #grow(frame: Frame): void {
    const delta = frame.pop();
    const within = this.#pages + delta <= MAX_PAGES;
    this.#pay(1 + fuelCosts.memoryGrow + (within ? delta * fuelCosts.memoryGrowPage : 0));
    frame.push(within ? this.#pages : -1);
    if (within) this.#pages += delta;
  }
}

class Frame {
  readonly locals: Int32Array;
  tail: { readonly callee: number; readonly args: readonly number[] } | undefined;
  readonly #stack: number[] = [];

  constructor(locals: number, args: readonly number[]) {
    this.locals = new Int32Array(PARAMS + locals);
    this.locals.set(args);
  }

  get height(): number {
    return this.#stack.length;
  }

  push(value: number): void {
    this.#stack.push(value | 0);
  }

  pop(): number {
    const value = this.#stack.pop();
    if (value === undefined) throw new Error("the interpreter's stack is empty");
    return value;
  }

  take(count: number): number[] {
    return this.#stack.splice(this.#stack.length - count);
  }

  /** Leaves what was there at `height`, and the result on top. */
  unwind(height: number, result: boolean): void {
    const kept = result ? this.#stack.slice(-1) : [];
    this.#stack.length = height;
    this.#stack.push(...kept);
  }
}

function calculate(opcode: number, a: number, b: number): number {
  switch (opcode) {
    case 0x46:
      return Number(a === b);
    case 0x48:
      return Number(a < b);
    case 0x49:
      return Number(a >>> 0 < b >>> 0);
    case 0x6a:
      return a + b;
    case 0x6b:
      return a - b;
    case 0x6c:
      return Math.imul(a, b);
    case 0x6e:
      if (b === 0) throw new Trap();
      return (a >>> 0) / (b >>> 0);
    case 0x71:
      return a & b;
    case 0x72:
      return a | b;
    default:
      return a ^ b;
  }
}
