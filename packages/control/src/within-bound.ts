import { BusError } from "@millrace/bus";
import type { LoadBounds, LogPlace } from "./load-bounds.ts";

/**
 * Stores a job that takes its place among those of `key` that have not ended.
 * @throws MillraceError resource_exhausted; what `store` throws
 */
export async function withinBound<T extends { readonly place?: LogPlace }>(
  bounds: LoadBounds,
  key: string,
  bytes: number,
  store: () => Promise<T>,
): Promise<T> {
  const held = await bounds.hold(key, bytes);
  if (held === undefined) return store();
  let stored: LogPlace | "unknown" | "no" = "no";
  try {
    const answer = await store();
    stored = answer.place ?? "no";
    return answer;
  } catch (error) {
    if (mayBeStored(error)) stored = "unknown";
    throw error;
  } finally {
    held.settle(stored);
  }
}

export function mayBeStored(error: unknown): boolean {
  return error instanceof BusError && error.code === "unavailable";
}
