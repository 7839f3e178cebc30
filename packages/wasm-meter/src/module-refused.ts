/**
 * Why a module is refused: INVALID WebAssembly; UNSUPPORTED, valid but of a feature that is not metered or not safe to run;
 * TOO_LARGE for a structural bound; LIMIT, it needs more memory or table entries at its start than it may have;
 * RESERVED_NAME, it uses a name that the rewriter adds.
 */
export type RefusalCode = "INVALID" | "UNSUPPORTED" | "TOO_LARGE" | "LIMIT" | "RESERVED_NAME";

/** A module that is not metered, with the place in the original file that is to blame. */
export class ModuleRefused extends Error {
  override readonly name = "ModuleRefused";
  readonly code: RefusalCode;
  /** The section's name in the specification's words; "module" for the file as a whole. */
  readonly section: string;
  /** Bytes from the start of the original file. */
  readonly offset: number;
  readonly reason: string;

  constructor(code: RefusalCode, section: string, offset: number, reason: string) {
    super(`${section} section at byte ${offset}: ${reason}`);
    this.code = code;
    this.section = section;
    this.offset = offset;
    this.reason = reason;
  }
}
