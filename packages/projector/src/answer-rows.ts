import type { Bus, BusMessage } from "@millrace/bus";
import { decodeJson, eventsStream, rowsSubject, type RowsAnswer, type RowsQuestion } from "@millrace/protocol";
import type { Store } from "@millrace/store";
import type { ProjectorLogger } from "./projector-signals.ts";
import { wait } from "./wait.ts";

const mostIds = 1000;
const mostWaitMs = 30_000;
/** One more is told at once that it cannot be known. */
const mostOpen = 500;
const encoder = new TextEncoder();
const unknown: RowsAnswer = { ready: false, rows: [] };

export interface AnswerRowsOptions {
  readonly bus: Bus;
  readonly store: Store;
  readonly logger: ProjectorLogger;
  readonly whenProjected: (seqs: ReadonlyMap<string, number>) => Promise<void>;
}

/** Answers who asks where jobs stand, once the rows hold what they ask for. */
export function answerRows(options: AnswerRowsOptions): AsyncDisposable {
  const { bus, logger } = options;
  const over = new AbortController();
  const open = new Set<Promise<void>>();
  const subscription = bus.subscribe(rowsSubject, { queue: "projector" }, (message) => {
    const answering = answer(options, message, open.size >= mostOpen, over.signal).catch((error: unknown) => {
      logger.warn({ err: error }, "a question for rows cannot be answered");
      reply(bus, message, unknown);
    });
    open.add(answering);
    void answering.finally(() => open.delete(answering));
  });
  return {
    async [Symbol.asyncDispose]() {
      subscription[Symbol.dispose]();
      over.abort();
      await Promise.all(open);
    },
  };
}

async function answer(
  { bus, store, whenProjected }: AnswerRowsOptions,
  message: BusMessage,
  isBusy: boolean,
  over: AbortSignal,
): Promise<void> {
  const { ids, after, waitMs } = decodeJson<RowsQuestion>(message.data);
  const asked = Array.isArray(ids) ? ids.filter((id) => typeof id === "string").slice(0, mostIds) : [];
  if (isBusy || asked.length === 0) return reply(bus, message, unknown);
  const seqs =
    after === undefined
      ? new Map([[eventsStream, (await bus.streamState(eventsStream)).lastSeq]])
      : new Map(Object.entries(after));
  const patience = AbortSignal.any([over, AbortSignal.timeout(Math.min(mostWaitMs, Math.max(1, waitMs ?? 1000)))]);
  const isThere = await Promise.race([
    whenProjected(seqs).then(
      () => true,
      () => false,
    ),
    wait(mostWaitMs, patience).then(() => false),
  ]);
  reply(bus, message, isThere ? { ready: true, rows: await store.findStandings(asked) } : unknown);
}

function reply(bus: Bus, { reply: subject }: BusMessage, answered: RowsAnswer): void {
  if (subject !== "") bus.publish(subject, encoder.encode(JSON.stringify(answered)));
}
