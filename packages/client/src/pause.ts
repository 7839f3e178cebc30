import { setTimeout as delay } from "node:timers/promises";
import { MillraceError } from "@millrace/protocol";

/** @throws MillraceError canceled when aborted */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (cause) {
    throw new MillraceError("canceled", "aborted", { cause });
  }
}
