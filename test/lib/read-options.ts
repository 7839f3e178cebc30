import process from "node:process";
import { parseArgs, type ParseArgsConfig } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;

/**
 * The options of a program for developers. `--help` prints the usage and ends the process with 0; what is no option, or lacks its value,
 * ends it with 2.
 */
export function readOptions<const T extends Options>(options: T, usage: string) {
  try {
    const { values } = parseArgs({ options: { ...options, help: { type: "boolean", short: "h" } } });
    if ((values as { help?: boolean }).help !== true) return parseArgs({ options }).values;
  } catch (error) {
    const isWrong = error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS_");
    if (!isWrong) throw error;
    // The hint behind the first sentence is on programs with positional arguments.
    refuse(error.message.split(". ")[0] ?? "", usage);
  }
  console.log(usage);
  process.exit(0);
}

/** Ends the process for wrong usage. */
export function refuse(reason: string, usage: string): never {
  console.error(`${reason}\n${usage}`);
  process.exit(2);
}
