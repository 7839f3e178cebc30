import { eventKind, type CodeEvents } from "./code-events.ts";
import { ModuleRefused } from "./module-refused.ts";
import { op } from "./opcodes.ts";

/** A charge is closed and another begun before it could outgrow 32 bits. */
const MAX_CHARGE = 2 ** 29;
const WEIGHT_SHIFT_PER_LOOP = 3;
const MAX_WEIGHTED_LOOPS = 5;
/** No charge is open: the next instruction that costs something opens one. */
const NONE = -1;
const ALIVE = -1;

/**
 * Follows the constructs of one function at a time, and finds where its charges stand.
 *
 * A charge covers all that runs exactly as often as the place where it stands. What follows a whole `block`, `loop` or `if`
 * runs as often as what stands before it, unless a branch or a return leaves that construct for an outer one; so the charge in
 * front covers both, and a forward branch inside costs nothing at the place where its paths meet.
 */
export class ChargeFlow {
  readonly #events: CodeEvents;
  readonly #maxNesting: number;
  /** For each construct around the present place: its opcode, the charge in front of it, the outermost level left from inside. */
  readonly #opened: Uint8Array;
  readonly #chargeBefore: Int32Array;
  readonly #leavesTo: Int32Array;

  /** Constructs around the present place; the function itself is level 0. */
  level = 0;
  loops = false;
  /** Legacy `try` constructs inside each other: each holds what it has caught until its end. */
  mostTries = 0;
  /** Places where paths part or meet: an engine's compiler may take note of every local at each. */
  joins = 0;
  /** Of all charges. */
  fuel = 0;
  /** Charges, each counted as often as its loops make likely. */
  weight = 0;
  #charge = NONE;
  /** Constructs opened since the code became unreachable; ALIVE where it is reachable. */
  #dead = ALIVE;
  #loopLevel = 0;
  #tries = 0;

  constructor(events: CodeEvents, maxNesting: number) {
    this.#events = events;
    this.#maxNesting = maxNesting;
    this.#opened = new Uint8Array(maxNesting + 1);
    this.#chargeBefore = new Int32Array(maxNesting + 1);
    this.#leavesTo = new Int32Array(maxNesting + 1);
  }

  get alive(): boolean {
    return this.#dead === ALIVE;
  }

  /** Begins a function, with the charge at its entry. */
  begin(at: number): void {
    this.level = this.joins = this.fuel = this.weight = this.#loopLevel = this.#tries = this.mostTries = 0;
    this.loops = false;
    this.#dead = ALIVE;
    this.#leavesTo[0] = 0;
    this.#charge = this.#open(eventKind.charge, at);
  }

  /** How often the present place is likely to run. */
  get likely(): number {
    return 1 << (WEIGHT_SHIFT_PER_LOOP * Math.min(this.#loopLevel, MAX_WEIGHTED_LOOPS));
  }

  /** The charge that covers the instruction at this place. */
  chargeAt(at: number): number {
    if (this.#charge === NONE) this.#charge = this.#open(eventKind.charge, at);
    return this.#charge;
  }

  pay(fuel: number, at: number): void {
    if (this.#dead !== ALIVE || fuel === 0) return;
    this.fuel += fuel;
    if (this.#events.increase(this.chargeAt(at), fuel) > MAX_CHARGE) this.#charge = NONE;
  }

  /** A construct begins with the instruction at `at`; its content begins at `inside`. */
  enter(opcode: number, at: number, inside: number): void {
    this.joins++;
    if (this.#dead !== ALIVE) {
      this.#dead++;
      return;
    }
    const level = ++this.level;
    if (level > this.#maxNesting) {
      throw new ModuleRefused("TOO_LARGE", "code", at, `blocks are nested deeper than ${this.#maxNesting}`);
    }
    this.#opened[level] = opcode;
    this.#chargeBefore[level] = this.chargeAt(at);
    this.#leavesTo[level] = level;
    if (opcode === op.if) this.#charge = NONE;
    if (opcode === op.try) this.mostTries = Math.max(this.mostTries, ++this.#tries);
    if (opcode !== op.loop) return;
    this.loops = true;
    this.#loopLevel++;
    this.#charge = this.#open(eventKind.checkedCharge, inside);
  }

  /** An `else` or a catch: runs, or not, whatever stands before. */
  nextArm(): void {
    if (this.#dead > 0) return;
    this.#dead = ALIVE;
    this.#charge = NONE;
  }

  /** A construct ends, or the function; `unreached`: nothing arrives at the function's end by going on. */
  end(): "inside" | "function" | "unreached" {
    if (this.#dead > 0) {
      this.#dead--;
      return "inside";
    }
    const reached = this.#dead === ALIVE;
    this.#dead = ALIVE;
    const level = this.level;
    if (level === 0) return reached ? "function" : "unreached";
    const leavesTo = this.#leavesTo[level] ?? 0;
    this.#charge = leavesTo < level ? NONE : (this.#chargeBefore[level] ?? NONE);
    if (this.#opened[level] === op.loop) this.#loopLevel--;
    if (this.#opened[level] === op.try) this.#tries--;
    this.level--;
    this.leaveTo(leavesTo);
    return "inside";
  }

  /** Something at this place may leave for the construct of that level. */
  leaveTo(level: number): void {
    if (this.#dead !== ALIVE) return;
    this.#leavesTo[this.level] = Math.min(this.#leavesTo[this.level] ?? 0, level);
  }

  /** What follows runs less often than what stands before. */
  fork(): void {
    this.#charge = NONE;
  }

  /** What follows does not run. */
  die(): void {
    if (this.#dead === ALIVE) this.#dead = 0;
  }

  #open(kind: number, at: number): number {
    this.weight += this.likely;
    return this.#events.add(kind, at, 0, 0);
  }
}
