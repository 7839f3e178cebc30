/**
 * The one pass over a function's instructions. It finds where fuel is charged, and what else the rewriter must touch.
 *
 * A charge covers all that runs exactly as often as the place where it stands. What follows a whole `block`, `loop` or `if`
 * runs as often as what stands before it, unless a branch or a return leaves that construct for an outer one; so the charge in
 * front covers both, and a forward branch inside costs nothing at the place where its paths meet.
 */
import { ByteReader } from "./byte-reader.ts";
import { eventKind, MEMORY, UNKNOWN_CALLEE, type CodeEvents } from "./code-events.ts";
import { fuelCosts, instructionFuel } from "./fuel-costs.ts";
import type { StructuralBounds } from "./meter-limits.ts";
import { ModuleRefused } from "./module-refused.ts";
import type { Feature, ModuleShape, Span } from "./module-shape.ts";
import { describeRefused, EMPTY_BLOCK, immediate, immediates, misc, op } from "./opcodes.ts";
import { isValueType, readValueType } from "./read-types.ts";

export interface FunctionPlan {
  readonly body: Span;
  /** Where the groups of local declarations begin, after their count. */
  readonly localsAt: number;
  readonly localGroups: number;
  /** Parameters and locals: the index of the first local that is added. */
  readonly locals: number;
  readonly codeAt: number;
  /** The first of its events is the charge at its entry. */
  readonly firstEvent: number;
  readonly endEvent: number;
  readonly loops: boolean;
  readonly calls: boolean;
  readonly bulk: boolean;
  readonly catches: boolean;
  /** Fuel of all its charges. */
  readonly fuel: number;
  /** Charges and calls, each counted as often as its loops make likely. */
  readonly chargeWeight: number;
  readonly callWeight: number;
}

/** What the code as a whole does, beside its plans. */
export interface CodeFacts {
  writesTables: boolean;
  dropsSegments: boolean;
  readonly features: Set<Feature>;
}

/** A charge is closed and another begun before it could outgrow 32 bits. */
const MAX_CHARGE = 2 ** 29;
const WEIGHT_SHIFT_PER_LOOP = 3;
const MAX_WEIGHTED_LOOPS = 5;
/** No charge is open: the next instruction that costs something opens one. */
const NONE = -1;
const ALIVE = -1;

export class FunctionAnalyzer {
  readonly #module: ModuleShape;
  readonly #bounds: StructuralBounds;
  readonly #hostCallFuel: number;
  readonly #unknownCallFuel: number;
  readonly #events: CodeEvents;
  readonly #facts: CodeFacts;
  /** For each construct around the present place: its opcode, the charge in front of it, the outermost level left from inside. */
  readonly #opened: Uint8Array;
  readonly #chargeBefore: Int32Array;
  readonly #leavesTo: Int32Array;

  #reader: ByteReader;
  #level = 0;
  #charge = NONE;
  /** Constructs opened since the code became unreachable; ALIVE where it is reachable. */
  #dead = ALIVE;
  #loopLevel = 0;
  #loops = false;
  #calls = false;
  #bulk = false;
  #catches = false;
  #fuel = 0;
  #chargeWeight = 0;
  #callWeight = 0;

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
    this.#opened = new Uint8Array(bounds.nesting + 1);
    this.#chargeBefore = new Int32Array(bounds.nesting + 1);
    this.#leavesTo = new Int32Array(bounds.nesting + 1);
    this.#reader = new ByteReader(module.bytes, "code", 0, 0);
  }

  analyze(params: number, body: Span): FunctionPlan {
    const reader = new ByteReader(this.#module.bytes, "code", body.start, body.end);
    this.#reader = reader;
    const localGroups = reader.u32();
    const localsAt = reader.at;
    const locals = this.#readLocals(params, localGroups);
    const codeAt = reader.at;
    const firstEvent = this.#events.length;
    this.#reset();
    this.#charge = this.#open(eventKind.charge, codeAt);
    this.#readCode();
    if (reader.at !== body.end) throw reader.unsupported(reader.at, "code after the function's end");
    return {
      body,
      localsAt,
      localGroups,
      locals,
      codeAt,
      firstEvent,
      endEvent: this.#events.length,
      loops: this.#loops,
      calls: this.#calls,
      bulk: this.#bulk,
      catches: this.#catches,
      fuel: this.#fuel,
      chargeWeight: this.#chargeWeight,
      callWeight: this.#callWeight,
    };
  }

  #reset(): void {
    this.#level = 0;
    this.#leavesTo[0] = 0;
    this.#dead = ALIVE;
    this.#loopLevel = 0;
    this.#loops = this.#calls = this.#bulk = this.#catches = false;
    this.#fuel = this.#chargeWeight = this.#callWeight = 0;
  }

  #readLocals(params: number, groups: number): number {
    const reader = this.#reader;
    let locals = params;
    for (let left = groups; left > 0; left--) {
      const at = reader.at;
      locals += reader.u32();
      if (locals > this.#bounds.locals) {
        throw new ModuleRefused("TOO_LARGE", "code", at, `${locals} locals; the bound is ${this.#bounds.locals}`);
      }
      readValueType(reader);
    }
    return locals;
  }

  #readCode(): void {
    const reader = this.#reader;
    for (;;) {
      const at = reader.at;
      const opcode = reader.byte();
      switch (immediates[opcode]) {
        case immediate.none:
          break;
        case immediate.integer:
          reader.skipInteger();
          break;
        case immediate.memory:
          this.#skipMemoryArgument();
          break;
        case immediate.bytes4:
          reader.skip(4);
          break;
        case immediate.bytes8:
          reader.skip(8);
          break;
        case immediate.special:
          if (this.#special(opcode, at)) return;
          continue;
        default:
          throw reader.unsupported(at, describeRefused(opcode));
      }
      if (opcode >= 0xc0) this.#facts.features.add("sign-extension");
      this.#pay(instructionFuel[opcode] ?? 1, at);
    }
  }

  #skipMemoryArgument(): void {
    const reader = this.#reader;
    const at = reader.at;
    // Bit 6 of the alignment says that the index of a memory follows.
    if (reader.u32() >= 64) throw reader.unsupported(at, "an access to a second memory");
    reader.skipInteger();
  }

  #open(kind: number, at: number): number {
    this.#chargeWeight += this.#weight();
    return this.#events.add(kind, at, 0, 0);
  }

  #weight(): number {
    return 1 << (WEIGHT_SHIFT_PER_LOOP * Math.min(this.#loopLevel, MAX_WEIGHTED_LOOPS));
  }

  #pay(fuel: number, at: number): void {
    if (this.#dead !== ALIVE || fuel === 0) return;
    if (this.#charge === NONE) this.#charge = this.#open(eventKind.charge, at);
    this.#fuel += fuel;
    if (this.#events.increase(this.#charge, fuel) > MAX_CHARGE) this.#charge = NONE;
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
        this.#readBlockType();
        if (opcode === op.try) this.#usesExceptions("exceptions-legacy");
        this.#enter(opcode, at);
        return false;
      case op.tryTable: {
        this.#readBlockType();
        const outermost = this.#readCatches();
        this.#usesExceptions("exceptions");
        this.#enter(opcode, at);
        if (this.#dead === ALIVE) this.#leaveTo(Math.max(0, this.#level - 1 - outermost));
        return false;
      }
      case op.catch:
        reader.skipInteger();
        this.#nextArm();
        return false;
      case op.catchAll:
      case op.else:
        this.#nextArm();
        return false;
      case op.delegate:
        reader.skipInteger();
        this.#end(at);
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
        this.#leaveTo(0);
        this.#exit(opcode, at);
        return false;
      case op.br:
        this.#branch(opcode, at, reader.u32());
        this.#die();
        return false;
      case op.brIf:
        this.#branch(opcode, at, reader.u32());
        this.#charge = NONE;
        return false;
      case op.brTable:
        this.#branch(opcode, at, this.#readLabels());
        this.#die();
        return false;
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
        this.#pay(1, at);
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
        this.#simd(at);
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
    this.#pay(1, at);
  }

  #readBlockType(): void {
    const reader = this.#reader;
    const at = reader.at;
    const first = reader.peek();
    if (first === EMPTY_BLOCK || isValueType(first)) {
      reader.skip(1);
      return;
    }
    // An index is a positive signed LEB128; single bytes from 0x40 on are types.
    if (first >= 0x40 && first < 0x80) throw reader.unsupported(at, "a typed reference (garbage collection)");
    reader.skipInteger();
    this.#facts.features.add("multi-value");
  }

  #enter(opcode: number, at: number): void {
    if (this.#dead !== ALIVE) {
      this.#dead++;
      return;
    }
    if (opcode === op.if) this.#pay(1, at);
    else if (this.#charge === NONE) this.#charge = this.#open(eventKind.charge, at);
    const level = ++this.#level;
    if (level > this.#bounds.nesting) {
      throw new ModuleRefused("TOO_LARGE", "code", at, `blocks are nested deeper than ${this.#bounds.nesting}`);
    }
    this.#opened[level] = opcode;
    this.#chargeBefore[level] = this.#charge;
    this.#leavesTo[level] = level;
    if (opcode === op.if) this.#charge = NONE;
    if (opcode !== op.loop) return;
    this.#loops = true;
    this.#loopLevel++;
    this.#charge = this.#open(eventKind.checkedCharge, this.#reader.at);
  }

  #nextArm(): void {
    if (this.#dead > 0) return;
    this.#dead = ALIVE;
    this.#charge = NONE;
  }

  #end(at: number): boolean {
    if (this.#dead > 0) {
      this.#dead--;
      return false;
    }
    const alive = this.#dead === ALIVE;
    this.#dead = ALIVE;
    const level = this.#level;
    if (level === 0) {
      if (alive) this.#events.add(eventKind.exit, at, 0, 0);
      return true;
    }
    const leavesTo = this.#leavesTo[level] ?? 0;
    this.#charge = leavesTo < level ? NONE : (this.#chargeBefore[level] ?? NONE);
    if (this.#opened[level] === op.loop) this.#loopLevel--;
    this.#level--;
    this.#leaveTo(leavesTo);
    return false;
  }

  #leaveTo(level: number): void {
    if (this.#dead !== ALIVE) return;
    this.#leavesTo[this.#level] = Math.min(this.#leavesTo[this.#level] ?? 0, level);
  }

  #die(): void {
    if (this.#dead === ALIVE) this.#dead = 0;
  }

  #branch(opcode: number, at: number, label: number): void {
    this.#pay(instructionFuel[opcode] ?? 1, at);
    if (this.#dead !== ALIVE) return;
    const target = this.#level - label;
    if (target <= 0) this.#events.add(eventKind.exit, at, 0, 0);
    this.#leaveTo(target);
  }

  #exit(opcode: number, at: number): void {
    this.#pay(instructionFuel[opcode] ?? 1, at);
    if (this.#dead !== ALIVE) return;
    this.#events.add(eventKind.exit, at, 0, 0);
    this.#die();
  }

  #usesThrow(opcode: number, at: number): void {
    this.#facts.features.add(opcode === op.rethrow ? "exceptions-legacy" : "exceptions");
    this.#leaveTo(0);
    this.#exit(opcode, at);
  }

  #usesExceptions(feature: Feature): void {
    this.#facts.features.add(feature);
    this.#catches = true;
  }

  /** Returns the outermost label. */
  #readLabels(): number {
    let outermost = 0;
    for (let left = this.#reader.count(this.#bounds.branchTargets, "labels of a br_table"); left >= 0; left--) {
      outermost = Math.max(outermost, this.#reader.u32());
    }
    return outermost;
  }

  /** The catch clauses of a try_table; labels count from outside of it. Returns the outermost. */
  #readCatches(): number {
    const reader = this.#reader;
    let outermost = 0;
    for (let left = reader.count(this.#bounds.branchTargets, "catch clauses"); left > 0; left--) {
      const at = reader.at;
      const kind = reader.byte();
      if (kind > 3) throw reader.unsupported(at, `a catch clause of kind ${kind}`);
      if (kind < 2) reader.skipInteger();
      outermost = Math.max(outermost, reader.u32());
    }
    return outermost;
  }

  #call(kind: number, opcode: number, at: number, callee: number): void {
    const imported = callee !== UNKNOWN_CALLEE && callee < this.#module.importedFunctions;
    this.#pay((instructionFuel[opcode] ?? 1) + (imported ? this.#hostCallFuel : 0), at);
    if (callee === UNKNOWN_CALLEE) this.#pay(this.#unknownCallFuel, at);
    if (this.#dead !== ALIVE) return;
    this.#calls = true;
    this.#callWeight += this.#weight();
    if (this.#charge === NONE) this.#charge = this.#open(eventKind.charge, at);
    this.#events.add(kind, at, this.#reader.at - at, callee, this.#charge);
    if (kind !== eventKind.tailCall) return;
    this.#leaveTo(0);
    this.#die();
  }

  #grow(at: number, what: number): void {
    if (this.#dead !== ALIVE) return;
    this.#callWeight += this.#weight();
    this.#events.add(eventKind.grow, at, this.#reader.at - at, what);
  }

  #bulkOperation(at: number, shift: number): void {
    this.#pay(fuelCosts.bulk, at);
    if (this.#dead !== ALIVE) return;
    this.#bulk = true;
    this.#events.add(eventKind.bulk, at, 0, shift);
  }

  #misc(at: number): void {
    const reader = this.#reader;
    const code = reader.u32();
    if (code < misc.memoryInit) {
      this.#facts.features.add("saturating-conversion");
      this.#pay(1, at);
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
        this.#bulkOperation(at, fuelCosts.bulkBytesShift);
        return;
      case misc.tableInit:
      case misc.tableCopy:
      case misc.tableFill:
        this.#bulkOperation(at, 0);
        return;
      case misc.tableGrow:
        this.#pay(1, at);
        reader.at = at + 1;
        reader.u32();
        this.#grow(at, reader.u32());
        return;
      default:
        if (code !== misc.tableSize) this.#facts.dropsSegments = true;
        this.#pay(1, at);
    }
  }

  #simd(at: number): void {
    const reader = this.#reader;
    const code = reader.u32();
    // Loads and stores; a constant or the lanes of a shuffle; one lane; one lane of a load or store.
    if (code <= 11 || code === 92 || code === 93) this.#skipMemoryArgument();
    else if (code === 12 || code === 13) reader.skip(16);
    else if (code >= 21 && code <= 34) reader.skip(1);
    else if (code >= 84 && code <= 91) {
      this.#skipMemoryArgument();
      reader.skip(1);
    } else if (code > 255) throw reader.unsupported(at, "a relaxed SIMD instruction");
    this.#facts.features.add("simd");
    this.#pay(1, at);
  }
}
