import type { Bus } from "@millrace/bus";
import { encodePlaceMark, placeMarkKey } from "@millrace/protocol";
import type { DoubleMessage } from "@millrace/store";
import type { ProjectorLogger } from "./projector-signals.ts";

/**
 * Keeps workers from running messages that name a job which came in before: each place gets a mark. What a worker has begun by then
 * runs twice; its row says that it may have.
 */
export async function barDoubles(bus: Bus, doubles: readonly DoubleMessage[], logger: ProjectorLogger): Promise<void> {
  const bucket = bus.kv("cancel");
  for (const { id, stream, seq } of doubles) {
    logger.warn({ job: id, stream, seq }, "a second message under the id of a job: it is noted on the row, and barred");
    try {
      await bucket.put(placeMarkKey(stream, seq), encodePlaceMark({ id, atMs: Date.now() }));
    } catch (error) {
      logger.warn({ err: error, job: id, stream, seq }, "a second message of a job cannot be barred: it may run");
    }
  }
}
