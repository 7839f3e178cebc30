import type { Feature, Span } from "./module-shape.ts";

/**
 * Exceptions that a frame can hold for each unit of call depth that it takes. They live on the engine's heap, where nothing
 * else counts them: 5000 units of depth hold 80,000, at most 65 MB with all their values.
 */
export const EXCEPTIONS_PER_DEPTH = 16;

/** What the analysis of a function says to the rewriter; its events are in the list of all. */
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
  /** What a call of it takes of the call depth: 1, and more when its frame can hold many exceptions. */
  readonly depth: number;
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
