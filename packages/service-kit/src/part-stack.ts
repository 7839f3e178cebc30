import { within } from "./within.ts";

/** A stop takes no longer, beyond the time that work under way is given to end. */
export const stopWithinMs = 5_000;
/** When that is over, what follows is told to stop as well, and waited for no longer than this. */
const lastWaitMs = 100;

type Part = Disposable | AsyncDisposable;

export interface StopLogger {
  warn(fields: object, text: string): void;
}

export interface PartStackOptions {
  readonly logger: StopLogger;
  /** For all parts together. */
  readonly withinMs?: number;
}

/**
 * The parts of a service, which stop in the reverse order of their start, and in a bounded time whatever a broker, a database or a
 * peer does. A part that takes longer is named in the log and left to end by itself: what it waits for fails when the connections
 * that the service stands on are closed.
 */
export class PartStack implements AsyncDisposable {
  readonly #options: PartStackOptions;
  #parts: { readonly name: string; readonly part: Part }[] = [];

  constructor(options: PartStackOptions) {
    this.#options = options;
  }

  /** @param name for the log; by default that of the part's class */
  use<T extends Part>(part: T, name: string = part.constructor.name): T {
    this.#parts.push({ name, part });
    return part;
  }

  /** Hands the parts over to a new stack, and leaves this one empty. */
  move(): PartStack {
    const moved = new PartStack(this.#options);
    moved.#parts = this.#parts.splice(0);
    return moved;
  }

  /** Tells every part to stop, though others fail to. @throws what the parts threw, when they have all been told */
  async [Symbol.asyncDispose](): Promise<void> {
    const { logger, withinMs = stopWithinMs } = this.#options;
    const untilMs = performance.now() + withinMs;
    const failures: unknown[] = [];
    for (const { name, part } of this.#parts.splice(0).reverse()) {
      try {
        await stopInTime(name, dispose(part), logger, Math.max(lastWaitMs, untilMs - performance.now()));
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, "parts failed to stop");
  }
}

/** Waits for a part that was told to stop; one that is late is named in the log, and nobody waits for it any more. */
export async function stopInTime(
  part: string,
  stopped: Promise<unknown>,
  logger: StopLogger,
  withinMs: number = stopWithinMs,
): Promise<void> {
  if (await within(withinMs, stopped)) return;
  logger.warn({ part, withinMs: Math.round(withinMs) }, "a part did not stop in time: it is left behind");
}

async function dispose(part: Part): Promise<void> {
  if (Symbol.asyncDispose in part) await part[Symbol.asyncDispose]();
  else part[Symbol.dispose]();
}
