/** A chain of causes is a few long; the bound keeps a cyclic one from hanging us. */
const mostCauses = 8;

/** Words for the person who started the system: what failed, and the cause below, which names the address or the file. */
export function explainStartFailure(error: unknown, logFile: string | undefined): string {
  let words = messageOf(error);
  let below = error;
  for (let depth = 0; below instanceof Error && below.cause !== undefined && depth < mostCauses; depth++) {
    below = below.cause;
  }
  const cause = messageOf(below);
  if (!words.includes(cause)) words += `: ${cause}`;
  return `Millrace does not start: ${words}${logFile === undefined ? "" : `\nThe log is in ${logFile}`}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
