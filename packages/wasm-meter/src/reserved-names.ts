/** Exports that the rewriter adds begin with this. A module that brings such a name, as import or export, is refused. */
export const reservedPrefix = "millrace.meter:";

export const reservedNames = {
  /** i64, mutable: the fuel that is left; negative once it has run out. */
  fuel: `${reservedPrefix}fuel`,
  /** i64, mutable: the call depth that is left; negative once it has run out. */
  depth: `${reservedPrefix}depth`,
  /** i64, mutable: pages (positive) or table entries (negated) that the last refused grow would have led to; else 0. */
  refused: `${reservedPrefix}refused`,
  /** The function of the start section, which is not run at instantiation. */
  start: `${reservedPrefix}start`,
  memory: `${reservedPrefix}memory`,
  /** A mutable global of the module, by its index. */
  global: (index: number) => `${reservedPrefix}global:${index}`,
  table: (index: number) => `${reservedPrefix}table:${index}`,
} as const;
