import { statfs } from "node:fs/promises";
import type { JetStreamApi } from "./jetstream-api.ts";
import type { JsonObject } from "./json.ts";

export interface StoreBudget {
  /** What new streams may reserve, all together; Infinity: the broker does not say. */
  readonly bytes: number;
  /** What it comes from, for the log. */
  readonly from: "nothing known" | "the account's limit" | "the disk";
}

/** A broker on a disk without room hangs, and comes back whole only after it was killed: so much stays free. */
const diskReserveShare = 0.1;
const leastDiskReserveBytes = 2 ** 30;
const mostDiskReserveShare = 0.25;

/**
 * What the broker's store has left for new streams: by the account's limit, and by the disk where its folder is on this machine. What
 * others have reserved counts, where the broker says it (2.10), and else `reservedBytes`, what is known of streams that are there.
 */
export async function storeBudget(
  api: JetStreamApi,
  known: { readonly replicas: number; readonly reservedBytes: number; readonly storeDir?: string | undefined },
): Promise<StoreBudget> {
  const account = await api.requestPatiently("INFO", undefined);
  const tier = tierOf(account, known.replicas);
  const limit = tier.object("limits").number("max_storage");
  const reserved = tier.has("reserved_storage") ? tier.number("reserved_storage") : known.reservedBytes;
  // A tier counts a stream once, the account each of its copies.
  const copies = tier === account ? known.replicas : 1;
  let budget: StoreBudget = { bytes: Infinity, from: "nothing known" };
  if (limit > 0) budget = { bytes: Math.max(0, limit - reserved) / copies, from: "the account's limit" };
  if (known.storeDir !== undefined) {
    const bytes = Math.max(0, (await diskBytes(known.storeDir)) + account.number("storage") - reserved);
    if (bytes < budget.bytes) budget = { bytes, from: "the disk" };
  }
  return budget;
}

function tierOf(account: JsonObject, replicas: number): JsonObject {
  const tiers = account.object("tiers");
  const name = `R${replicas}`;
  return tiers.has(name) ? tiers.object(name) : account;
}

/** Free, without the reserve. */
async function diskBytes(folder: string): Promise<number> {
  const { blocks, bavail, bsize } = await statfs(folder);
  const whole = blocks * bsize;
  const reserve = Math.max(whole * diskReserveShare, Math.min(leastDiskReserveBytes, whole * mostDiskReserveShare));
  return bavail * bsize - reserve;
}
