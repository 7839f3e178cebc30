import type { FunctionPlan } from "./function-plan.ts";
import type { CallGraph } from "./call-graph.ts";
import { eventKind, UNKNOWN_CALLEE, type CodeEvents } from "./code-events.ts";

/** What a caller may pay for its callee's entry: keeps sums of charges inside of 32 bits in the longest body of V8, 7.3 MiB. */
const MAX_PREPAID_FUEL = 256;
/** What runs between two checks because of one call of a function without a check. */
const MAX_UNCHECKED_FUEL = 256;

/**
 * Moves the charge at a function's entry into its callers' charges, where all of its callers are known: a recursive function
 * then touches its fuel once per level, and a small straight one not at all. The sum stays exact.
 *
 * @param entered 1 for each function that something else than a call by name can enter
 * @returns by function index, 1 for each function that need not check its fuel at its entry
 */
export function placePayments(
  plans: readonly FunctionPlan[],
  events: CodeEvents,
  graph: CallGraph,
  entered: Uint8Array,
): Uint8Array {
  const imported = entered.length - plans.length;
  const prepaid = findPrepaid(plans, events, graph, entered);
  for (const [offset, plan] of plans.entries()) {
    eachCall(plan, events, (callee, charge) => {
      const fuel = prepaid[callee] ?? 0;
      if (fuel > 0) events.increase(charge, fuel);
    });
    if ((prepaid[imported + offset] ?? 0) > 0) events.clear(plan.firstEvent);
  }
  return findUnchecked(plans, events, graph, entered);
}

/** By function index, the fuel at the entry that callers pay; 0 for a function that pays it itself. */
function findPrepaid(
  plans: readonly FunctionPlan[],
  events: CodeEvents,
  graph: CallGraph,
  entered: Uint8Array,
): Uint16Array {
  const imported = entered.length - plans.length;
  const prepaid = new Uint16Array(entered.length);
  const done = new Uint8Array(entered.length).fill(1, 0, imported);
  const own = Uint8Array.from(entered);
  for (const index of graph.finished) {
    const plan = plans[index - imported];
    if (!plan) continue;
    let fuel = events.value(plan.firstEvent);
    eachCall(plan, events, (callee, charge) => {
      if (charge !== plan.firstEvent) return;
      // A cycle of entries would be paid for ever: the function that closes it pays for itself.
      if (done[callee] === 0) own[callee] = 1;
      fuel += prepaid[callee] ?? 0;
    });
    if (own[index] === 0 && fuel <= MAX_PREPAID_FUEL) prepaid[index] = fuel;
    done[index] = 1;
  }
  return prepaid;
}

function findUnchecked(
  plans: readonly FunctionPlan[],
  events: CodeEvents,
  graph: CallGraph,
  entered: Uint8Array,
): Uint8Array {
  const imported = entered.length - plans.length;
  const unchecked = new Uint8Array(entered.length);
  const most = new Uint16Array(entered.length);
  for (const index of graph.finished) {
    const plan = plans[index - imported];
    if (!plan || plan.loops || entered[index] === 1 || graph.counted[index] === 1) continue;
    let fuel = plan.fuel;
    eachCall(plan, events, (callee) => {
      fuel += most[callee] ?? 0;
    });
    if (fuel > MAX_UNCHECKED_FUEL) continue;
    unchecked[index] = 1;
    most[index] = fuel;
  }
  return unchecked;
}

function eachCall(plan: FunctionPlan, events: CodeEvents, visit: (callee: number, charge: number) => void): void {
  for (let event = plan.firstEvent; event < plan.endEvent; event++) {
    const kind = events.kind(event);
    if (kind !== eventKind.call && kind !== eventKind.tailCall) continue;
    const callee = events.value(event);
    if (callee !== UNKNOWN_CALLEE) visit(callee, events.charge(event));
  }
}
