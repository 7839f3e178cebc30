import type { Bus } from "@millrace/bus";
import { eventsStream } from "@millrace/protocol";
import type { ProjectorLogger } from "./projector-signals.ts";
import { wait } from "./wait.ts";

const checkEveryMs = 10_000;
/** Share of the stream's bytes at which trimming begins, and down to which it goes. */
const high = 0.6;
const low = 0.4;
const encoder = new TextEncoder();

/**
 * EVENTS refuses new messages when it is full, so that nothing leaves before it is projected. What is projected may go:
 * above 60 % of the stream's bytes the oldest of it is purged, and watchers that lag that far start from the rows.
 * Nothing beyond `projectedSeq` is ever touched.
 */
export async function trimEvents(
  bus: Bus,
  options: { readonly signal: AbortSignal; readonly logger: ProjectorLogger; readonly projectedSeq: () => number },
): Promise<void> {
  const { signal, logger, projectedSeq } = options;
  while (!signal.aborted) {
    await wait(checkEveryMs, signal);
    if (signal.aborted || !bus.connected) continue;
    try {
      const purged = await trimOnce(bus, projectedSeq());
      if (purged > 0) logger.info({ purged }, "trimmed projected events");
    } catch (error) {
      logger.warn({ err: error }, "events cannot be trimmed");
    }
  }
}

/** @returns how many messages were purged */
export async function trimOnce(bus: Bus, projectedSeq: number): Promise<number> {
  const { bytes, maxBytes, firstSeq, lastSeq } = await bus.streamState(eventsStream);
  if (maxBytes <= 0 || bytes < maxBytes * high) return 0;
  const share = 1 - (maxBytes * low) / bytes;
  const upTo = Math.min(firstSeq + Math.floor((lastSeq - firstSeq + 1) * share), projectedSeq + 1);
  if (upTo <= firstSeq) return 0;
  // `seq`: everything below it goes.
  await bus.request(`$JS.API.STREAM.PURGE.${eventsStream}`, encoder.encode(JSON.stringify({ seq: upTo })), {
    timeoutMs: 10_000,
  });
  return upTo - firstSeq;
}
