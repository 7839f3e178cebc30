import { setFlagsFromString } from "node:v8";

/**
 * Lets the heap of this process grow to four times what lives in it before V8 collects garbage, and counts buffers to it.
 *
 * By itself V8 starts a collection after every 64 MiB of buffers, and after fewer the more it had to collect lately. Bodies
 * come in buffers: on two processors a few MB of them each second meant several collections, with 10 to 30 ms each in which
 * nobody was answered. Four is also the most that V8 would choose (`kMaxHeapGrowingFactor`); live data here are tens of MiB,
 * and what is held of bodies and answers has bounds of its own.
 */
export function collectSeldom(): void {
  // Flags belong to a version of V8, and it complains on standard error of those that it does not know.
  if (!process.versions.v8.startsWith("13.6.")) return;
  setFlagsFromString("--heap-growing-percent=300");
  setFlagsFromString("--external-memory-accounted-in-global-limit");
}
