import type { Health } from "@millrace/service-kit";

const mostMs = 15_000;
const everyMs = 20;

/** Resolves when nothing is missing, or after a while with what still is: the system starts, and says so. */
export async function untilReady(health: Health, signal: AbortSignal): Promise<string> {
  const untilMs = performance.now() + mostMs;
  for (;;) {
    const { ready, missing } = await health.readiness();
    if (ready || signal.aborted) return "";
    if (performance.now() > untilMs) return missing.map(({ part, reason }) => `${part}: ${reason}`).join("; ");
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
