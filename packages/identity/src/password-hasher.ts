import { hash, verify } from "@node-rs/argon2";
import { MillraceError } from "@millrace/protocol";

/**
 * Argon2id with 19 MiB, 2 passes and 1 lane: OWASP's first choice of parameters for it
 * (https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html).
 */
const costs = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
/** When all places are taken: a caller may come again after so long. */
const retryAfterMs = 2_000;

const encodedCosts = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$/;

/** Hashes passwords, a few at a time: a flood of logins must not take the cores of everything else. */
export class PasswordHasher {
  readonly #atOnce: number;
  readonly #mostWaiting: number;
  readonly #waiting: (() => void)[] = [];
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
  hash(password: string): Promise<string> {
    return this.#inTurn(() => hash(password, costs));
  }

  /**
   * Whether it is the password of the hash. Without a hash (no such account, or one without a password) the answer is no,
   * after the same work.
   * @throws MillraceError `unavailable` when too many wait
   */
  async verify(encoded: string | undefined, password: string): Promise<boolean> {
    const against = encoded ?? (await this.#nobody);
    const matches = await this.#inTurn(() => verify(against, password));
    return matches && encoded !== undefined;
  }

  /** Whether a hash was made with lower costs than those of today. */
  isWeak(encoded: string): boolean {
    const found = encodedCosts.exec(encoded);
    if (found === null) return true;
    const [memory, passes, lanes] = found.slice(1).map(Number);
    return (memory ?? 0) < costs.memoryCost || (passes ?? 0) < costs.timeCost || (lanes ?? 0) < costs.parallelism;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#atOnce) {
      if (this.#waiting.length >= this.#mostWaiting) {
        throw new MillraceError("unavailable", "too many logins at one time", { retryAfterMs });
      }
      // Whoever ends hands its place over.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running += 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      else next();
    }
  }
}
