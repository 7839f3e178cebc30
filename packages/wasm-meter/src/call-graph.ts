import { eventKind, UNKNOWN_CALLEE, type CodeEvents } from "./code-events.ts";
import type { FunctionPlan } from "./function-plan.ts";

/** A chain of calls that is not counted is at most this long, so that the depth that is counted bounds the stack. */
const MAX_UNCOUNTED_CHAIN = 16;

export interface CallGraph {
  /** By function index, 1 for each function that counts call depth, and for imported ones: a host function may call back. */
  readonly counted: Uint8Array;
  /** The module's own functions, callees before their callers where there is no cycle. */
  readonly finished: readonly number[];
}

/**
 * Finds the functions that count call depth: those in a cycle of calls, those that call through a table, those that reach
 * such a function, those that can hold many exceptions, and as many more as keep chains of the others short. Tarjan's algorithm ("Depth-first search and linear
 * graph algorithms", 1972) without recursion.
 */
export function readCallGraph(
  plans: readonly FunctionPlan[],
  events: CodeEvents,
  importedFunctions: number,
): CallGraph {
  const total = importedFunctions + plans.length;
  const counted = new Uint8Array(total);
  const chain = new Uint8Array(total);
  const order = new Int32Array(total);
  const lowest = new Int32Array(total);
  const onStack = new Uint8Array(total);
  const next = new Int32Array(total);
  const stack: number[] = [];
  const path: number[] = [];
  const finished: number[] = [];
  let visited = 0;

  const enter = (index: number): void => {
    order[index] = lowest[index] = ++visited;
    next[index] = plans[index - importedFunctions]?.firstEvent ?? 0;
    onStack[index] = 1;
    stack.push(index);
    path.push(index);
  };

  const leave = (index: number): void => {
    path.pop();
    finished.push(index);
    if (lowest[index] === order[index]) {
      let member: number | undefined;
      do {
        member = stack.pop();
        if (member === undefined) break;
        onStack[member] = 0;
        if (member !== index) counted[member] = counted[index] = 1;
      } while (member !== index);
    }
    const parent = path.at(-1);
    if (parent === undefined) return;
    lowest[parent] = Math.min(at(lowest, parent), at(lowest, index));
    join(parent, index);
  };

  /** What a finished or unfinished callee says about its caller. */
  const join = (caller: number, callee: number): void => {
    if (caller === callee || onStack[callee] === 1 || counted[callee] === 1) {
      counted[caller] = 1;
      return;
    }
    chain[caller] = Math.max(at(chain, caller), at(chain, callee) + 1);
    if (at(chain, caller) >= MAX_UNCOUNTED_CHAIN) counted[caller] = 1;
  };

  for (const [offset, { depth }] of plans.entries()) if (depth > 1) counted[importedFunctions + offset] = 1;
  for (let root = importedFunctions; root < total; root++) {
    if (order[root] !== 0) continue;
    enter(root);
    for (let index = path.at(-1); index !== undefined; index = path.at(-1)) {
      const callee = nextCallee(index);
      if (callee === undefined) leave(index);
      else if (order[callee] === 0) enter(callee);
      else {
        if (onStack[callee] === 1) lowest[index] = Math.min(at(lowest, index), at(order, callee));
        join(index, callee);
      }
    }
  }
  counted.fill(1, 0, importedFunctions);
  return { counted, finished };

  /** The next function of this module that a function calls by name; marks calls through a table on the way. */
  function nextCallee(index: number): number | undefined {
    const end = plans[index - importedFunctions]?.endEvent ?? 0;
    for (;;) {
      const event = next[index] ?? end;
      if (event >= end) return undefined;
      next[index] = event + 1;
      const kind = events.kind(event);
      if (kind !== eventKind.call && kind !== eventKind.tailCall) continue;
      const callee = events.value(event);
      if (callee === UNKNOWN_CALLEE) counted[index] = 1;
      else if (callee >= importedFunctions) return callee;
    }
  }
}

function at(array: Int32Array | Uint8Array, index: number): number {
  return array[index] ?? 0;
}
