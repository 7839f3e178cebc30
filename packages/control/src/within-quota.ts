import { BusError } from "@millrace/bus";
import type { ControlContext } from "./control-context.ts";

/**
 * Stores a job of a user that takes its place among those that have not ended; "" for nobody's.
 * @throws MillraceError resource_exhausted; what `store` throws
 */
export async function withinQuota<T extends { readonly duplicate: boolean }>(
  { quotas }: ControlContext,
  owner: string,
  bytes: number,
  store: () => Promise<T>,
): Promise<T> {
  if (owner === "") return store();
  const held = await quotas.hold(owner, bytes);
  let stored = false;
  try {
    const answer = await store();
    stored = !answer.duplicate;
    return answer;
  } catch (error) {
    stored = mayBeStored(error);
    throw error;
  } finally {
    held.settle(stored);
  }
}

export function mayBeStored(error: unknown): boolean {
  return error instanceof BusError && error.code === "unavailable";
}
