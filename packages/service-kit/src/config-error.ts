export interface ConfigProblem {
  readonly key: string;
  /** The option, variable or file that set it, or could set it. */
  readonly origin: string;
  readonly reason: string;
}

/** Everything that is wrong with the configuration, at once. */
export class ConfigError extends Error {
  readonly problems: readonly ConfigProblem[];

  constructor(problems: readonly ConfigProblem[]) {
    const lines = problems.map(({ key, origin, reason }) => `  ${key} (${origin}): ${reason}`);
    super(`The configuration does not work:\n${lines.join("\n")}`);
    this.name = "ConfigError";
    this.problems = problems;
  }
}
