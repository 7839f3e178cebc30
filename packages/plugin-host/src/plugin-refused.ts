import type { ErrorDetail } from "@millrace/protocol";

/** The module cannot be loaded. Every reason is in `problems`. */
export class PluginRefused extends Error {
  override readonly name = "PluginRefused";
  readonly problems: readonly ErrorDetail[];

  constructor(problems: readonly ErrorDetail[]) {
    super(problems.map(({ field, reason }) => `${field}: ${reason}`).join("; "));
    this.problems = problems;
  }
}
