import { ChargeFlow } from "./charge-flow.ts";
import { CodeReader } from "./code-reader.ts";
import { eventKind, MEMORY, UNKNOWN_CALLEE, type CodeEvents } from "./code-events.ts";
import { EXCEPTIONS_PER_DEPTH, type CodeFacts, type FunctionPlan } from "./function-plan.ts";
import { fuelCosts, instructionFuel } from "./fuel-costs.ts";
import type { StructuralBounds } from "./meter-limits.ts";
import { ModuleRefused } from "./module-refused.ts";
import type { Feature, ModuleShape, Span } from "./module-shape.ts";
import { describeRefused, immediate, immediates, misc, op, valueType } from "./opcodes.ts";
import { readValueType } from "./read-types.ts";

/** The one pass over a function's instructions: finds where fuel is charged, and what else the rewriter must touch. */
export class FunctionAnalyzer {
  readonly #module: ModuleShape;
  readonly #bounds: StructuralBounds;
  readonly #hostCallFuel: number;
  readonly #unknownCallFuel: number;
  readonly #events: CodeEvents;
  readonly #facts: CodeFacts;
  readonly #flow: ChargeFlow;
  #reader: CodeReader;
  #calls = false;
  #bulk = false;
  #catches = false;
  /** Exceptions that the frame can hold at one time, at most. */
  #holds = 0;
  /** 1 for each of the function's locals that holds an exception; undefined where none does. */
  #exceptionLocals: Uint8Array | undefined;
  /** By index of a function type, of those that blocks have had so far: a module may name a long one millions of times. */
  readonly #exceptionsOfType: number[] = [];
  #callWeight = 0;
  /** Of all functions so far. */
  #merges = 0;

  constructor(
    module: ModuleShape,
    bounds: StructuralBounds,
    hostCallFuel: number,
    events: CodeEvents,
    facts: CodeFacts,
  ) {
    this.#module = module;
    this.#bounds = bounds;
    this.#hostCallFuel = hostCallFuel;
    // An imported function in a table must not be cheaper there.
    const importTaken = module.addressTaken.subarray(0, module.importedFunctions).includes(1);
    this.#unknownCallFuel = importTaken ? hostCallFuel : 0;
    this.#events = events;
    this.#facts = facts;
    this.#flow = new ChargeFlow(events, bounds.nesting);
    this.#reader = this.#readerOf({ start: 0, end: 0 });
  }

  analyze(params: number, body: Span): FunctionPlan {
    const reader = this.#readerOf(body);
    this.#reader = reader;
    this.#holds = 0;
    this.#exceptionLocals = undefined;
    const localGroups = reader.u32();
    const localsAt = reader.at;
    const locals = this.#readLocals(params, localGroups);
    const codeAt = reader.at;
    const firstEvent = this.#events.length;
    this.#calls = this.#bulk = this.#catches = false;
    this.#callWeight = 0;
    this.#flow.begin(codeAt);
    this.#readCode();
    this.#checkMerges(body, locals * this.#flow.joins);
    if (reader.at !== body.end) throw reader.unsupported(reader.at, "code after the function's end");
    return {
      body,
      localsAt,
      localGroups,
      locals,
      codeAt,
      firstEvent,
      endEvent: this.#events.length,
      loops: this.#flow.loops,
      calls: this.#calls,
      bulk: this.#bulk,
      catches: this.#catches,
      depth: 1 + Math.floor((this.#holds + this.#flow.mostTries) / EXCEPTIONS_PER_DEPTH),
      fuel: this.#flow.fuel,
      chargeWeight: this.#flow.weight,
      callWeight: this.#callWeight,
    };
  }

  #checkMerges(body: Span, merges: number): void {
    this.#merges += merges;
    const { functionMerges, merges: allMerges } = this.#bounds;
    if (merges <= functionMerges && this.#merges <= allMerges) return;
    const reason =
      merges > functionMerges
        ? `locals times branches are ${merges} in a function; the bound is ${functionMerges}`
        : `locals times branches are ${this.#merges} so far; the bound is ${allMerges}`;
    throw new ModuleRefused("TOO_LARGE", "code", body.start, reason);
  }

  #readerOf({ start, end }: Span): CodeReader {
    return new CodeReader(this.#module.bytes, start, end, this.#bounds.branchTargets, this.#facts.features);
  }

  #readLocals(params: number, groups: number): number {
    const reader = this.#reader;
    let locals = params;
    for (let left = groups; left > 0; left--) {
      const at = reader.at;
      const from = locals;
      locals += reader.u32();
      if (locals > this.#bounds.locals) {
        throw new ModuleRefused("TOO_LARGE", "code", at, `${locals} locals; the bound is ${this.#bounds.locals}`);
      }
      if (readValueType(reader) === valueType.exnref) {
        this.#exceptionLocals ??= new Uint8Array(this.#bounds.locals);
        this.#exceptionLocals.fill(1, from, locals);
        this.#holds += locals - from;
      }
    }
    return locals;
  }

  #readCode(): void {
    const reader = this.#reader;
    // A run of ordinary instructions is paid for at once: there are many.
    let fuel = 0;
    let runAt = 0;
    for (;;) {
      const at = reader.at;
      const opcode = reader.byte();
      switch (immediates[opcode]) {
        case immediate.none:
          break;
        case immediate.integer:
          if (this.#exceptionLocals !== undefined && (opcode === op.localGet || opcode === op.localTee))
            this.#localGet();
          else reader.skipInteger();
          break;
        case immediate.memory:
          reader.memoryArgument();
          break;
        case immediate.bytes4:
          reader.skip(4);
          break;
        case immediate.bytes8:
          reader.skip(8);
          break;
        case immediate.special:
          if (fuel > 0) this.#flow.pay(fuel, runAt);
          fuel = 0;
          if (this.#special(opcode, at)) return;
          continue;
        default:
          throw reader.unsupported(at, describeRefused(opcode));
      }
      if (opcode >= 0xc0) this.#facts.features.add("sign-extension");
      const cost = instructionFuel[opcode] ?? 1;
      if (cost === 0) continue;
      if (fuel === 0) runAt = at;
      fuel += cost;
    }
  }

  /** Leaves a value on the stack, which may stay there when the local holds another. */
  #localGet(): void {
    this.#holds += this.#exceptionLocals?.[this.#reader.u32()] ?? 0;
  }

  /** What is caught comes in as a result of a block, or as a parameter of a loop. */
  #blockType(): void {
    const type = this.#reader.blockType();
    if (type === -valueType.exnref) this.#holds++;
    if (type < 0) return;
    this.#holds += this.#exceptionsOfType[type] ??= this.#countExceptions(type);
  }

  #countExceptions(type: number): number {
    const { params = [], results = [] } = this.#module.types[type] ?? {};
    return [...params, ...results].filter((value) => value === valueType.exnref).length;
  }

  /** Returns true at the end of the function. */
  #special(opcode: number, at: number): boolean {
    const reader = this.#reader;
    switch (opcode) {
      case op.nop:
        return false;
      case op.block:
      case op.loop:
      case op.if:
      case op.try:
        this.#blockType();
        if (opcode === op.try) this.#usesExceptions("exceptions-legacy");
        if (opcode === op.if) this.#flow.pay(1, at);
        this.#flow.enter(opcode, at, reader.at);
        return false;
      case op.tryTable: {
        this.#blockType();
        const outermost = reader.catches();
        this.#usesExceptions("exceptions");
        this.#flow.enter(opcode, at, reader.at);
        this.#flow.leaveTo(Math.max(0, this.#flow.level - 1 - outermost));
        return false;
      }
      case op.catch:
        reader.skipInteger();
        this.#flow.nextArm();
        return false;
      case op.catchAll:
      case op.else:
        this.#flow.nextArm();
        return false;
      case op.delegate:
        reader.skipInteger();
        this.#flow.end();
        return false;
      case op.end:
        return this.#end(at);
      case op.unreachable:
        this.#exit(opcode, at);
        return false;
      case op.throw:
      case op.rethrow:
        reader.skipInteger();
        this.#usesThrow(opcode, at);
        return false;
      case op.throwRef:
        this.#usesThrow(opcode, at);
        return false;
      case op.return:
        this.#flow.leaveTo(0);
        this.#exit(opcode, at);
        return false;
      case op.br:
        this.#branch(opcode, at, reader.u32());
        this.#flow.die();
        return false;
      case op.brIf:
        this.#branch(opcode, at, reader.u32());
        this.#flow.fork();
        return false;
      case op.brTable:
        return this.#branchTable(opcode, at);
      default:
        this.#other(opcode, at);
        return false;
    }
  }

  /** Special instructions that do not steer. */
  #other(opcode: number, at: number): void {
    const reader = this.#reader;
    switch (opcode) {
      case op.call:
        this.#call(eventKind.call, opcode, at, reader.u32());
        return;
      case op.returnCall:
        this.#facts.features.add("tail-calls");
        this.#call(eventKind.tailCall, opcode, at, reader.u32());
        return;
      case op.callIndirect:
      case op.returnCallIndirect:
        reader.skipInteger();
        if (reader.u32() > 0) this.#facts.features.add("reference-types");
        if (opcode === op.returnCallIndirect) this.#facts.features.add("tail-calls");
        this.#call(opcode === op.callIndirect ? eventKind.call : eventKind.tailCall, opcode, at, UNKNOWN_CALLEE);
        return;
      case op.memoryGrow:
      case op.memorySize:
        reader.skipInteger();
        this.#flow.pay(1, at);
        if (opcode === op.memoryGrow) this.#grow(at, MEMORY);
        return;
      case op.selectTyped:
        for (let left = reader.u32(); left > 0; left--) readValueType(reader);
        break;
      case op.refNull:
        readValueType(reader);
        break;
      case op.miscPrefix:
        this.#misc(at);
        return;
      case op.simdPrefix:
        reader.simdInstruction(at);
        this.#flow.pay(1, at);
        return;
      case op.tableSet:
        this.#facts.writesTables = true;
        reader.skipInteger();
        break;
      case 0xd1:
        break;
      default:
        // table.get and ref.func.
        if (opcode !== 0x25 && opcode !== op.refFunc) throw reader.unsupported(at, describeRefused(opcode));
        reader.skipInteger();
    }
    this.#facts.features.add("reference-types");
    this.#flow.pay(1, at);
  }

  #end(at: number): boolean {
    const ended = this.#flow.end();
    if (ended === "function") this.#events.add(eventKind.exit, at, 0, 0);
    return ended !== "inside";
  }

  #branchTable(opcode: number, at: number): false {
    const { count, outermost } = this.#reader.labels();
    this.#flow.joins += count;
    this.#branch(opcode, at, outermost);
    this.#flow.die();
    return false;
  }

  #branch(opcode: number, at: number, label: number): void {
    this.#flow.joins++;
    this.#flow.pay(instructionFuel[opcode] ?? 1, at);
    if (!this.#flow.alive) return;
    const target = this.#flow.level - label;
    if (target <= 0) this.#events.add(eventKind.exit, at, 0, 0);
    this.#flow.leaveTo(target);
  }

  #exit(opcode: number, at: number): void {
    this.#flow.pay(instructionFuel[opcode] ?? 1, at);
    if (!this.#flow.alive) return;
    this.#events.add(eventKind.exit, at, 0, 0);
    this.#flow.die();
  }

  #usesThrow(opcode: number, at: number): void {
    this.#facts.features.add(opcode === op.rethrow ? "exceptions-legacy" : "exceptions");
    this.#flow.leaveTo(0);
    this.#exit(opcode, at);
  }

  #usesExceptions(feature: Feature): void {
    this.#facts.features.add(feature);
    this.#catches = true;
  }

  #call(kind: number, opcode: number, at: number, callee: number): void {
    const imported = callee !== UNKNOWN_CALLEE && callee < this.#module.importedFunctions;
    this.#flow.pay((instructionFuel[opcode] ?? 1) + (imported ? this.#hostCallFuel : 0), at);
    if (callee === UNKNOWN_CALLEE) this.#flow.pay(this.#unknownCallFuel, at);
    if (!this.#flow.alive) return;
    this.#calls = true;
    this.#callWeight += this.#flow.likely;
    this.#events.add(kind, at, this.#reader.at - at, callee, this.#flow.chargeAt(at));
    if (kind !== eventKind.tailCall) return;
    this.#flow.leaveTo(0);
    this.#flow.die();
  }

  #grow(at: number, what: number): void {
    if (!this.#flow.alive) return;
    this.#callWeight += this.#flow.likely;
    this.#events.add(eventKind.grow, at, this.#reader.at - at, what);
  }

  #bulkOperation(at: number, fuel: number, shift: number): void {
    this.#flow.pay(fuel, at);
    if (!this.#flow.alive) return;
    this.#bulk = true;
    this.#events.add(eventKind.bulk, at, 0, shift);
  }

  #misc(at: number): void {
    const reader = this.#reader;
    const code = reader.u32();
    if (code < misc.memoryInit) {
      this.#facts.features.add("saturating-conversion");
      this.#flow.pay(1, at);
      return;
    }
    if (code > misc.tableFill) throw reader.unsupported(at, `the instruction 0xfc ${code}`);
    reader.skipInteger();
    if (code === misc.memoryInit || code === misc.memoryCopy || code === misc.tableInit || code === misc.tableCopy) {
      reader.skipInteger();
    }
    this.#facts.features.add(code < misc.tableGrow ? "bulk-memory" : "reference-types");
    if (code >= misc.tableInit && code !== misc.elemDrop && code !== misc.tableSize) this.#facts.writesTables = true;
    switch (code) {
      case misc.memoryInit:
      case misc.memoryCopy:
      case misc.memoryFill:
        this.#bulkOperation(at, fuelCosts.bulk, fuelCosts.bulkBytesShift);
        return;
      case misc.tableInit:
      case misc.tableCopy:
      case misc.tableFill:
        this.#bulkOperation(at, fuelCosts.tableBulk, -fuelCosts.tableEntryShift);
        return;
      case misc.tableGrow:
        this.#flow.pay(1, at);
        reader.at = at + 1;
        reader.u32();
        this.#grow(at, reader.u32());
        return;
      default:
        if (code !== misc.tableSize) this.#facts.dropsSegments = true;
        this.#flow.pay(1, at);
    }
  }
}
