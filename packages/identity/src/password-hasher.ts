import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { MillraceError } from "@millrace/protocol";
import type { HashAnswer, HashWish } from "./hash-thread.ts";
import { passwordCosts } from "./password-costs.ts";

/** When all places are taken: a caller may come again after so long. */
const retryAfterMs = 2_000;

const encodedCosts = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$/;

/**
 * Hashes passwords, a few at a time, in threads that let everything else go first: a flood of logins must not take the cores
 * of others.
 */
export class PasswordHasher implements AsyncDisposable {
  readonly #atOnce: number;
  readonly #mostWaiting: number;
  readonly #waiting: (() => void)[] = [];
  readonly #threads = new Set<Worker>();
  readonly #idle: Worker[] = [];
  readonly #nobody: Promise<string>;
  #running = 0;

  constructor({ atOnce, mostWaiting }: { readonly atOnce: number; readonly mostWaiting: number }) {
    this.#atOnce = atOnce;
    this.#mostWaiting = mostWaiting;
    this.#nobody = this.hash("nobody has this password");
    // Whoever needs it first hears of the failure.
    this.#nobody.catch(() => undefined);
  }

  /** @throws MillraceError `unavailable` when too many wait */
  async hash(password: string): Promise<string> {
    return (await this.#inTurn({ password })) as string;
  }

  /**
   * Whether it is the password of the hash. Without a hash (no such account, or one without a password) the answer is no,
   * after the same work.
   * @throws MillraceError `unavailable` when too many wait
   */
  async verify(encoded: string | undefined, password: string): Promise<boolean> {
    const against = encoded ?? (await this.#nobody);
    const matches = (await this.#inTurn({ password, encoded: against })) as boolean;
    return matches && encoded !== undefined;
  }

  /** Whether a hash was made with lower costs than those of today. */
  isWeak(encoded: string): boolean {
    const found = encodedCosts.exec(encoded);
    if (found === null) return true;
    const [memory, passes, lanes] = found.slice(1).map(Number);
    const { memoryCost, timeCost, parallelism } = passwordCosts;
    return (memory ?? 0) < memoryCost || (passes ?? 0) < timeCost || (lanes ?? 0) < parallelism;
  }

  /** What is being hashed fails. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#threads].map((thread) => thread.terminate()));
  }

  async #inTurn(wish: HashWish): Promise<string | boolean> {
    if (this.#running >= this.#atOnce) {
      if (this.#waiting.length >= this.#mostWaiting) {
        throw new MillraceError("unavailable", "too many logins at one time", { retryAfterMs });
      }
      // Whoever ends hands its place over.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running += 1;
    try {
      return await this.#work(wish);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }

  async #work(wish: HashWish): Promise<string | boolean> {
    const thread = this.#idle.pop() ?? this.#startThread();
    const over = new AbortController();
    // With nothing to do it holds no process.
    thread.ref();
    thread.postMessage(wish);
    try {
      const [answer] = (await Promise.race([
        once(thread, "message", { signal: over.signal }),
        once(thread, "exit", { signal: over.signal }).then(() => {
          throw new Error("the thread that hashes passwords ended");
        }),
      ])) as [HashAnswer];
      this.#idle.push(thread);
      if ("failed" in answer) throw new Error("a password could not be hashed", { cause: answer.failed });
      return answer.said;
    } finally {
      over.abort();
      thread.unref();
    }
  }

  #startThread(): Worker {
    const thread = new Worker(new URL("./hash-thread.ts", import.meta.url), { env: {}, name: "passwords" });
    this.#threads.add(thread);
    thread.once("exit", () => this.#threads.delete(thread));
    return thread;
  }
}
