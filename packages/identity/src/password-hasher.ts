import { MillraceError } from "@millrace/protocol";
import { Piscina } from "piscina";
import type { HashWish } from "./hash-thread.ts";
import { passwordCosts } from "./password-costs.ts";

/** When all places are taken: a caller may come again after so long. */
const retryAfterMs = 2_000;

/** 0 to 19: whatever else wants the processor gets about nine times such a thread's share of it. */
const niceIncrement = 10;

/** Threads beyond the first end after so long without work, ms. */
const idleTimeout = 10_000;

const encodedCosts = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$/;

/**
 * Hashes passwords, a few at a time, in threads that let everything else go first: a flood of logins must not take the cores
 * of others.
 */
export class PasswordHasher implements AsyncDisposable {
  readonly #mostWaiting: number;
  readonly #threads: Piscina<HashWish, string | boolean>;
  readonly #nobody: Promise<string>;

  constructor({ atOnce, mostWaiting }: { readonly atOnce: number; readonly mostWaiting: number }) {
    this.#mostWaiting = mostWaiting;
    const filename = new URL("./hash-thread.ts", import.meta.url).href;
    this.#threads = new Piscina({
      filename,
      name: "hash",
      minThreads: 1,
      maxThreads: atOnce,
      stricterFIFO: true,
      idleTimeout,
      niceIncrement,
      env: {},
    });
    // Of a thread that ended without work: another takes its place. What one works at fails with it.
    this.#threads.on("error", () => {});
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
  [Symbol.asyncDispose](): Promise<void> {
    return this.#threads.destroy();
  }

  #inTurn(wish: HashWish): Promise<string | boolean> {
    if (this.#threads.queueSize >= this.#mostWaiting) {
      throw new MillraceError("unavailable", "too many logins at one time", { retryAfterMs });
    }
    return this.#threads.run(wish);
  }
}
