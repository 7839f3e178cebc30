import type { FunctionPlan } from "./function-plan.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { eventKind, UNKNOWN_CALLEE, type CodeEvents } from "./code-events.ts";
import { EMPTY_BLOCK, op, valueType } from "./opcodes.ts";

/** Indexes of what the rewriter adds to the module. */
export interface AddedIndexes {
  readonly fuelGlobal: number;
  readonly depthGlobal: number;
  /** The function that takes the place of a grow of a table, or of the memory (MEMORY). */
  readonly growFunctions: ReadonlyMap<number, number>;
}

/**
 * Writes one function with its fuel and depth code.
 *
 * Fuel lives in the global, or, in functions whose loops charge more often than they call, in a local that is written back
 * before every way out and read again after every call. A catch would need the same, so functions that catch keep to the
 * global.
 *
 * The depth global holds the depth that is left to the caller. A counting function takes its own part from it into a local at its
 * entry and stores that before each call: nothing is left to do at a return, at a throw or at a catch.
 */
export class FunctionEmitter {
  readonly #source: Uint8Array;
  readonly #events: CodeEvents;
  readonly #counted: Uint8Array;
  readonly #added: AddedIndexes;
  readonly #out: ByteWriter;
  #fuelLocal = 0;
  #depthLocal = 0;
  #lengthLocal = 0;
  #inLocal = false;
  #counts = false;
  #depth = 1;

  constructor(source: Uint8Array, events: CodeEvents, counted: Uint8Array, added: AddedIndexes, out: ByteWriter) {
    this.#source = source;
    this.#events = events;
    this.#counted = counted;
    this.#added = added;
    this.#out = out;
  }

  emit(plan: FunctionPlan, index: number, checked: boolean): void {
    this.#counts = this.#counted[index] === 1;
    this.#depth = plan.depth;
    this.#inLocal = plan.loops && !plan.catches && plan.chargeWeight > plan.callWeight;
    this.#fuelLocal = plan.locals;
    this.#depthLocal = plan.locals + 1;
    this.#lengthLocal = this.#depthLocal + (this.#counts ? 1 : 0);
    const size = this.#out.beginSized();
    this.#out.u32(plan.localGroups + (plan.bulk ? 2 : 1));
    this.#out.copy(this.#source, plan.localsAt, plan.codeAt);
    this.#out.u32(this.#counts ? 2 : 1);
    this.#out.byte(valueType.i64);
    if (plan.bulk) {
      this.#out.u32(1);
      this.#out.byte(valueType.i32);
    }
    this.#enter(this.#events.value(plan.firstEvent), checked);
    this.#emitCode(plan);
    this.#out.endSized(size);
  }

  #emitCode(plan: FunctionPlan): void {
    const events = this.#events;
    let copied = plan.codeAt;
    for (let event = plan.firstEvent + 1; event < plan.endEvent; event++) {
      const at = events.at(event);
      const after = at + events.size(event);
      const value = events.value(event);
      this.#out.copy(this.#source, copied, at);
      copied = at;
      switch (events.kind(event)) {
        case eventKind.charge:
          if (value > 0) this.#charge(value);
          break;
        case eventKind.checkedCharge:
          this.#fuelGet();
          this.#subtract(value);
          this.#settle();
          break;
        case eventKind.call:
          this.#beforeCall(value);
          this.#out.copy(this.#source, at, after);
          copied = after;
          this.#readBack();
          break;
        case eventKind.tailCall:
          this.#beforeTailCall();
          break;
        case eventKind.exit:
          this.#writeBack();
          break;
        case eventKind.bulk:
          this.#chargeLength(value);
          break;
        case eventKind.grow:
          this.#writeBack();
          this.#out.byte(op.call);
          this.#out.u32(this.#added.growFunctions.get(value) ?? 0);
          copied = after;
          this.#readBack();
          break;
      }
    }
    this.#out.copy(this.#source, copied, plan.body.end);
  }

  #enter(fuel: number, checked: boolean): void {
    if (!checked && fuel === 0) return;
    this.#globalGet(this.#added.fuelGlobal);
    if (fuel > 0) this.#subtract(fuel);
    if (!checked) {
      this.#globalSet(this.#added.fuelGlobal);
      return;
    }
    if (this.#inLocal) {
      this.#local(op.localTee, this.#fuelLocal);
    } else if (fuel > 0) {
      this.#local(op.localTee, this.#fuelLocal);
      this.#globalSet(this.#added.fuelGlobal);
      this.#local(op.localGet, this.#fuelLocal);
    }
    if (this.#counts) {
      this.#globalGet(this.#added.depthGlobal);
      this.#subtract(this.#depth);
      this.#local(op.localTee, this.#depthLocal);
      // One branch for both: the union is negative when either is.
      this.#out.byte(op.i64Or);
    }
    this.#beginIfNegative();
    this.#writeBack();
    if (this.#counts) {
      this.#local(op.localGet, this.#depthLocal);
      this.#globalSet(this.#added.depthGlobal);
    }
    this.#endTrap();
  }

  #charge(fuel: number): void {
    this.#fuelGet();
    this.#subtract(fuel);
    if (this.#inLocal) this.#local(op.localSet, this.#fuelLocal);
    else this.#globalSet(this.#added.fuelGlobal);
  }

  /** Takes the new fuel from the stack, and stops when there is none left. */
  #settle(): void {
    this.#local(op.localTee, this.#fuelLocal);
    if (!this.#inLocal) {
      this.#globalSet(this.#added.fuelGlobal);
      this.#local(op.localGet, this.#fuelLocal);
    }
    this.#beginIfNegative();
    this.#writeBack();
    this.#endTrap();
  }

  /** Charges the unsigned length on top of the stack, and leaves it there. */
  #chargeLength(shift: number): void {
    this.#local(op.localSet, this.#lengthLocal);
    this.#fuelGet();
    this.#local(op.localGet, this.#lengthLocal);
    this.#out.byte(op.i64ExtendI32U);
    this.#out.byte(op.i64Const);
    this.#out.signed(Math.abs(shift));
    this.#out.byte(shift < 0 ? op.i64Shl : op.i64ShrU);
    this.#out.byte(op.i64Sub);
    this.#settle();
    this.#local(op.localGet, this.#lengthLocal);
  }

  #beforeCall(callee: number): void {
    this.#writeBack();
    // A callee that does not count does not lead to one that does either.
    if (!this.#counts || (callee !== UNKNOWN_CALLEE && this.#counted[callee] === 0)) return;
    this.#local(op.localGet, this.#depthLocal);
    this.#globalSet(this.#added.depthGlobal);
  }

  /** The callee takes this function's place on the stack, so it is given the depth that this one was given. */
  #beforeTailCall(): void {
    this.#writeBack();
    if (!this.#counts) return;
    this.#local(op.localGet, this.#depthLocal);
    this.#subtract(-this.#depth);
    this.#globalSet(this.#added.depthGlobal);
  }

  #writeBack(): void {
    if (!this.#inLocal) return;
    this.#local(op.localGet, this.#fuelLocal);
    this.#globalSet(this.#added.fuelGlobal);
  }

  #readBack(): void {
    if (!this.#inLocal) return;
    this.#globalGet(this.#added.fuelGlobal);
    this.#local(op.localSet, this.#fuelLocal);
  }

  #fuelGet(): void {
    if (this.#inLocal) this.#local(op.localGet, this.#fuelLocal);
    else this.#globalGet(this.#added.fuelGlobal);
  }

  #subtract(value: number): void {
    this.#out.byte(op.i64Const);
    this.#out.signed(value);
    this.#out.byte(op.i64Sub);
  }

  #beginIfNegative(): void {
    this.#out.byte(op.i64Const);
    this.#out.byte(0);
    this.#out.byte(op.i64LtS);
    this.#out.byte(op.if);
    this.#out.byte(EMPTY_BLOCK);
  }

  #endTrap(): void {
    this.#out.byte(op.unreachable);
    this.#out.byte(op.end);
  }

  #local(opcode: number, index: number): void {
    this.#out.byte(opcode);
    this.#out.u32(index);
  }

  #globalGet(index: number): void {
    this.#out.byte(op.globalGet);
    this.#out.u32(index);
  }

  #globalSet(index: number): void {
    this.#out.byte(op.globalSet);
    this.#out.u32(index);
  }
}
