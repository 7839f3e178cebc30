import type { StreamState } from "./stream-state.ts";

/** By so much the servers of a cluster may differ in when a stream was made: each has its own (seen with 2.10.27). */
const replicasDifferMs = 10_000;

/** Whether a stream may be the one that was made then: another leader tells another time of the same stream. */
export function isSameStream(
  { createdMs, replicas }: Pick<StreamState, "createdMs" | "replicas">,
  madeMs: number,
): boolean {
  return replicas > 1 ? Math.abs(createdMs - madeMs) < replicasDifferMs : createdMs === madeMs;
}
