import { BusError, type Bus } from "@millrace/bus";
import { decodeJson, rowsSubject, type RowsAnswer, type RowsQuestion } from "@millrace/protocol";

/** How much longer than the projector itself its answer may take. */
const onTheWayMs = 1000;
const encoder = new TextEncoder();

/**
 * Asks the projector for rows that are built up to a place.
 * @returns undefined when they are not there in time, the database is away, or no projector runs
 */
export async function askRows(bus: Bus, question: RowsQuestion): Promise<RowsAnswer["rows"] | undefined> {
  try {
    const timeoutMs = question.waitMs + onTheWayMs;
    const answer = await bus.request(rowsSubject, encoder.encode(JSON.stringify(question)), { timeoutMs });
    const { ready, rows } = decodeJson<RowsAnswer>(answer.data);
    return ready === true && Array.isArray(rows) ? rows : undefined;
  } catch (error) {
    if (error instanceof BusError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
