import { spawn } from "node:child_process";
import { once } from "node:events";
import { MillraceError } from "@millrace/protocol";

/** Words of a compiler, kept from the end on: the last error is the one that names the cause. */
const mostOutputChars = 16_384;

export interface CompilerRun {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  /** What to do where the command is not installed. */
  readonly hint: string;
  readonly signal: AbortSignal;
}

/** @throws MillraceError failed_precondition with the compiler's own words when it refuses the source or is missing */
export async function runCompiler({ command, args, cwd, hint, signal }: CompilerRun): Promise<void> {
  const child = spawn(command, args, { cwd, signal, stdio: ["ignore", "pipe", "pipe"] });
  let words = "";
  const keep = (chunk: Buffer) => {
    words = (words + chunk.toString()).slice(-mostOutputChars);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  try {
    const [code] = (await once(child, "close")) as [number | null];
    if (code !== 0) throw new MillraceError("failed_precondition", `${command} refuses the source:\n${words.trim()}`);
  } catch (cause) {
    if (signal.aborted) throw new MillraceError("canceled", "the build was interrupted", { cause });
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      throw new MillraceError("failed_precondition", `${command} is not installed; ${hint}`, { cause });
    }
    throw cause;
  }
}
