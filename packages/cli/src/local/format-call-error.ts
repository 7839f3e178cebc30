import type { CallResult } from "@millrace/plugin-host";
import { formatBreach } from "../format-job.ts";

/** The words of a failed call, with figure and limit where a limit ended it; without its code. */
export function formatCallError({ message, breach }: Extract<CallResult, { ok: false }>): string {
  if (breach === undefined) return message;
  const { resource, unit, figure, limit } = breach;
  return `${message} (${formatBreach({ resource, unit, figure: BigInt(figure), limit: BigInt(limit) })})`;
}
