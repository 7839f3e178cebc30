import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

/** No step of a bench takes longer on any machine worth measuring. */
const longestStepMs = 300_000;

/** A figure: how many of what per second, or a time in ms. */
export type Figures = Record<string, number>;

/**
 * Starts a bench program of this folder in a process of its own. It says "ready" over IPC, gets "go", and answers with
 * its figures; programs without work of their own (servers, workers) stay until they are stopped.
 */
export class BenchChild implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #name: string;

  private constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
  }

  /** @param input what the program needs to know, as JSON */
  static async start(program: string, input: object): Promise<BenchChild> {
    const child = fork(join(import.meta.dirname, program), [JSON.stringify(input)], {
      stdio: ["ignore", "ignore", "inherit", "ipc"],
      execArgv: ["--expose-gc", "--disable-warning=ExperimentalWarning"],
    });
    const started = new BenchChild(program, child);
    await started.#next("ready", "start");
    return started;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** @throws Error when the program ends, says something else, or takes longer than `longestStepMs` */
  async go(input: object = {}): Promise<Figures> {
    this.#child.send({ go: input });
    const message = await this.#next("figures", JSON.stringify(input));
    return message["figures"] as Figures;
  }

  async #next(key: string, step: string): Promise<Record<string, unknown>> {
    const over = new AbortController();
    const timer = setTimeout(() => over.abort(), longestStepMs);
    try {
      const [value] = await Promise.race([
        once(this.#child, "message", { signal: over.signal }),
        once(this.#child, "exit", { signal: over.signal }).then(([code]) => {
          throw new Error(`${this.#name} ended with ${String(code)} in step ${step}`);
        }),
      ]).catch((error: unknown) => {
        throw timer.hasRef() && over.signal.aborted
          ? new Error(`${this.#name} did not finish step ${step} in ${longestStepMs / 1000} s`, { cause: error })
          : error;
      });
      if (!(key in value)) throw new Error(`${this.#name} said ${JSON.stringify(value)}, not ${key}`);
      return value as Record<string, unknown>;
    } finally {
      clearTimeout(timer);
      over.abort();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, "exit");
    this.#child.kill("SIGTERM");
    const hard = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await gone;
    clearTimeout(hard);
  }
}

/** The other side: run `work` each time the parent says go. */
export async function serveBench<T>(
  prepare: (
    input: T,
  ) => Promise<{ work: (input: Record<string, unknown>) => Promise<Figures>; stop?: () => Promise<void> }>,
): Promise<void> {
  const input = JSON.parse(process.argv[2] ?? "{}") as T;
  const { work, stop } = await prepare(input);
  process.on("message", (message: { go: Record<string, unknown> }) => {
    work(message.go).then(
      (figures) => process.send!({ figures }),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  // The parent is gone, however it went: nobody is left to stop us.
  process.on("disconnect", () => process.exit(1));
  process.on("SIGTERM", () => {
    Promise.resolve(stop?.()).finally(() => process.exit(0));
  });
  process.send!({ ready: true });
}

/** Percentile of a sorted list. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

/** p50 and p99 of samples in ms. */
export function latencyFigures(samples: readonly number[]): Figures {
  const sorted = [...samples].sort((a, b) => a - b);
  return { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: sorted.at(-1) ?? Number.NaN };
}

/** Wall clock in ms that two processes of one machine share. */
export function sharedNowMs(): number {
  return performance.timeOrigin + performance.now();
}
