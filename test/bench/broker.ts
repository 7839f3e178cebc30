import type { Bus } from "@millrace/bus";
import type { TestNats } from "@millrace/bus/testing";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The resident memory of a broker. Linux only. */
export function brokerRssMb(nats: TestNats): number {
  const pid = readFileSync(join(nats.dataDir, "nats.pid"), "utf8").trim();
  const kB = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kB) / 1000;
}

/**
 * Stops a broker in order, unless it has ended, and starts it again.
 * @param answers resolves once JetStream does what it is needed for
 * @returns from its start until then, ms
 */
export async function restartBroker(nats: TestNats, bus: Bus, answers: () => Promise<void>): Promise<number> {
  await nats.stop();
  const start = performance.now();
  await nats.restart();
  await bus.whenConnected();
  await answers();
  return performance.now() - start;
}
