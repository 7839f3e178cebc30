/** Programs for tests, as trees: encodeProgram makes a module of one, runProgram runs it one instruction after the other. */
export interface Program {
  readonly functions: readonly ProgramFunction[];
  /** Functions in the table, by its entries. */
  readonly table: readonly number[];
}

/** Takes PARAMS numbers, returns one. */
export interface ProgramFunction {
  readonly exported: boolean;
  readonly locals: number;
  readonly body: readonly Instruction[];
}

export const PARAMS = 2;
export const MEMORY_PAGES = 1;
export const MAX_PAGES = 3;
export const GLOBALS = 2;

/** `result`: whether a construct leaves a number. Labels count outwards, as in the binary. */
export type Instruction =
  | { readonly kind: "const"; readonly value: number }
  | { readonly kind: "local"; readonly opcode: number; readonly index: number }
  | { readonly kind: "global"; readonly opcode: number; readonly index: number }
  /** Without immediates: binary and unary operators, drop, select, return, unreachable, nop. */
  | { readonly kind: "plain"; readonly opcode: number }
  | { readonly kind: "block" | "loop"; readonly result: boolean; readonly body: readonly Instruction[] }
  | {
      readonly kind: "if";
      readonly result: boolean;
      readonly body: readonly Instruction[];
      readonly otherwise: readonly Instruction[] | undefined;
    }
  /** Catches everything, and goes on after the block of the same result that stands around the try_table. */
  | { readonly kind: "try"; readonly body: readonly Instruction[] }
  | { readonly kind: "throw" }
  | { readonly kind: "br" | "br_if"; readonly label: number }
  | { readonly kind: "br_table"; readonly labels: readonly number[] }
  | { readonly kind: "call" | "return_call"; readonly callee: number }
  /** The table's entry is on the stack. */
  | { readonly kind: "call_indirect" }
  /** i32.load and i32.store. */
  | { readonly kind: "memory"; readonly opcode: number }
  | { readonly kind: "fill" }
  | { readonly kind: "grow" };
