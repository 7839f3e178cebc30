import { within } from "./pause.ts";

export interface TestStackOptions {
  /** For one step. */
  readonly stepMs?: number;
  /** For all of them: less than what a test's hook gets, so that this is heard and not that the hook took too long. */
  readonly allMs?: number;
}

/** What follows a step that was late is told to stop, and waited for no less than this. */
const leastMs = 1000;

/**
 * What a test stands on, by name; stopped in the reverse order. When that takes too long, the error says how long each step took, and
 * which has not ended.
 */
export class TestStack implements AsyncDisposable {
  readonly #stepMs: number;
  readonly #allMs: number;
  #steps: { readonly name: string; readonly what: AsyncDisposable }[] = [];

  constructor({ stepMs = 20_000, allMs = 45_000 }: TestStackOptions = {}) {
    this.#stepMs = stepMs;
    this.#allMs = allMs;
  }

  use<T extends AsyncDisposable>(name: string, what: T): T {
    this.#steps.push({ name, what });
    return what;
  }

  /** Hands the steps over to a new stack, and leaves this one empty. */
  move(): TestStack {
    const moved = new TestStack({ stepMs: this.#stepMs, allMs: this.#allMs });
    moved.#steps = this.#steps.splice(0);
    return moved;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const beganMs = performance.now();
    const times: string[] = [];
    const failures: unknown[] = [];
    let isLate = false;
    for (const { name, what } of this.#steps.splice(0).reverse()) {
      const startedMs = performance.now();
      const leftMs = beganMs + this.#allMs - startedMs;
      try {
        const ended = await within(Math.min(this.#stepMs, Math.max(leastMs, leftMs)), stop(what));
        const tookMs = Math.round(performance.now() - startedMs);
        times.push(ended ? `${name} ${tookMs} ms` : `${name} has not ended after ${tookMs} ms`);
        isLate ||= !ended;
      } catch (error) {
        failures.push(error);
      }
    }
    if (isLate) failures.push(new Error(`stopping took too long: ${times.join(", ")}`));
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, "steps failed to stop");
  }
}

async function stop(what: AsyncDisposable): Promise<void> {
  await what[Symbol.asyncDispose]();
}
